-- What a person's words do besides a stop or a start of everything: they concern one purpose, or
-- may mean a stop.
-- The scripts that process inbound messages include this after the common parts.

-- How many lines of a ledger are searched for what a withdrawal took away.
local LOOKED_BACK = 512

-- Grants or withdraws one purpose by its name. `line`: source and evidence of the ledger line.
-- `expires`: ms, nil for never.
local function say_purpose(person, account, purpose, sender, granted, at, expires, line)
  local said = { at = at, granted = granted, account = account, purpose = purpose, expires_at = expires }
  if sender ~= '*' then said.sender = sender end
  for name, value in pairs(line) do said[name] = value end
  ledger(person, said)
  local scope = account .. '|' .. purpose .. '|' .. sender
  if granted then
    unite(K.person(person), 'c:' .. scope, '1:' .. int(at) .. ':' .. (expires and int(expires) or ''))
  else
    unite(K.person(person), 'd:' .. scope, int(at))
  end
end

-- Whether the latest word on a purpose, at every sender, is a withdrawal.
local function is_withdrawn(person, account, purpose)
  local scope = account .. '|' .. purpose .. '|*'
  local got = redis.call('HMGET', K.person(person), 'd:' .. scope, 'c:' .. scope)
  local withdrawn = tonumber(got[1] or '') or tonumber(string.match(',' .. (got[2] or ''), ',0:(%d+):') or '')
  if not withdrawn then return false end
  for _, grant in ipairs(read_grants(got[2] or nil)) do
    if grant.at > withdrawn then return false end
  end
  return true
end

-- Returns what the person's own withdrawal of a purpose, by a tap or a word, took away: the last
-- grant of each scope, ordered by scope. It is empty if the last withdrawal was not the person's
-- own word.
local function taken_away(person, account, purpose)
  local standing, is_own = {}, false
  for _, text in ipairs(redis.call('LRANGE', K.consents(person), -LOOKED_BACK, -1)) do
    local line = decoded(text)
    if line and line.account == account and line.purpose == purpose then
      local scope = type(line.sender) == 'string' and line.sender or '*'
      if line.granted then
        standing[scope] = line
      elseif scope ~= '*' then
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
  table.sort(found, function(one, other) return (one.sender or '*') < (other.sender or '*') end)
  return found
end

-- Grants again what the person's own withdrawal of a purpose took away, with the same scopes and
-- ends, and nothing else. Returns whether there was anything to grant.
local function resume_purpose(person, account, purpose, at, line)
  if not is_withdrawn(person, account, purpose) then return false end
  local given = taken_away(person, account, purpose)
  for _, grant in ipairs(given) do
    local scope, ends = grant.sender or '*', tonumber(grant.expires_at)
    say_purpose(person, account, purpose, scope, true, at, ends, line)
  end
  return #given > 0
end

-- Holds marketing to a person back until an operator has looked. The first sentence stays the
-- evidence. Its text is never stored.
local function suspect(person, account, sender, at, sid)
  count('suspected')
  local key, field = K.person(person), 'h:' .. account
  if redis.call('HEXISTS', key, field) == 1 then return end
  redis.call('HSET', key, field, int(at) .. '|' .. sid .. '|' .. sender)
  redis.call('ZADD', K.suspected_stops, int(at), person .. '|' .. account)
  bump(key)
end

-- Takes a suspected stop off the list. Returns the MessageSid of its evidence ('' if unreadable),
-- nil when there was no suspected stop.
local function unsuspect(person, account)
  local key, field = K.person(person), 'h:' .. account
  local held = redis.call('HGET', key, field)
  redis.call('ZREM', K.suspected_stops, person .. '|' .. account)
  if not held then return nil end
  redis.call('HDEL', key, field)
  bump(key)
  return string.match(held, '^%d+|(.-)|') or ''
end

-- Puts the messages that wait for a person at a sender back into their lanes, to be decided again.
-- Returns how many.
local function release(person, sender, now)
  local key = K.waiting(person, sender)
  local released = 0
  for _, id in ipairs(redis.call('SMEMBERS', key)) do
    local got = redis.call('HMGET', K.row(id), 's', 'l')
    if got[1] == 'waiting' then
      -- The reason of the wait goes too: if the message waits again for the same reason, that is a
      -- new decision.
      redis.call('HDEL', K.row(id), 'w', 'r')
      note(id, now, 'released')
      to_lane(got[2], id, now, now)
      released = released + 1
    end
  end
  redis.call('DEL', key)
  return released
end

-- A message waits under the digest that its own claim knew, so each digest is released.
local function release_all(digests, sender, now)
  local released = 0
  for _, digest in ipairs(digests) do released = released + release(digest, sender, now) end
  return released
end
