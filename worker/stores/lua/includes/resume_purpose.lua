-- include: read_grants, set_purpose, try_decode

-- Whether the latest word on a purpose, at every sender, is a withdrawal.
local function is_withdrawn(person, account, purpose)
  local scope = account .. '|' .. purpose .. '|' .. C.ANY
  local withdrawn_at, grants = unpack(
    redis.call('HMGET', K.person(person), F.purpose_withdrawn .. scope, F.grants .. scope))
  grants = grants or ''
  -- Older versions wrote a withdrawal of the purpose among the grants.
  local withdrawn = tonumber(withdrawn_at or '')
    or tonumber(string.match(',' .. grants, ',0:(%d+):') or '')
  if not withdrawn then return false end
  for _, grant in ipairs(read_grants(grants)) do
    if grant.at > withdrawn then return false end
  end
  return true
end

-- Returns what the person's own withdrawal of a purpose, by a tap or a word, took away: the last
-- grant of each scope, ordered by scope. It is empty if the last withdrawal was not the person's
-- own word.
local function taken_away(person, account, purpose)
  local standing, is_own = {}, false
  for _, text in ipairs(redis.call('LRANGE', K.consents(person), -C.MAX_LEDGER_LINES, -1)) do
    local line = try_decode(text)
    if line and line.account == account and line.purpose == purpose then
      local scope = type(line.sender) == 'string' and line.sender or C.ANY
      if line.granted then
        standing[scope] = line
      elseif scope ~= C.ANY then
        standing[scope] = nil
      else
        is_own = line.source == 'inbound'
        if not is_own then standing = {} end
      end
    end
  end
  local found = {}
  if is_own then
    for _, line in pairs(standing) do found[#found + 1] = line end
  end
  table.sort(found, function(one, other) return (one.sender or C.ANY) < (other.sender or C.ANY) end)
  return found
end

-- Grants again what the person's own withdrawal of a purpose took away, with the same scopes and
-- ends, and nothing else. Returns whether there was anything to grant.
local function resume_purpose(person, account, purpose, at, line)
  if not is_withdrawn(person, account, purpose) then return false end
  local given = taken_away(person, account, purpose)
  for _, grant in ipairs(given) do
    local scope, ends = grant.sender or C.ANY, tonumber(grant.expires_at)
    set_purpose(person, account, purpose, scope, true, at, ends, line)
  end
  return #given > 0
end
