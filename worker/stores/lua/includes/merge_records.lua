-- include: append_to_ledger, distinct_digests, int, is_undone, last_word, merge_consents
-- include: opt_out, outlasts, read_hash, read_instant, revision_of, stop_scope, unite_consent

-- Returns the value that says more: the later instant, or the higher count. A value that is not a
-- number stays as it is.
local function later_of(mine, theirs)
  if not mine then return theirs end
  local ours, others = string.match(mine, '^%-?%d+'), string.match(theirs, '^%-?%d+')
  return (tonumber(others) or 0) > (tonumber(ours) or 0) and theirs or mine
end

-- Returns the marks of the last inbound messages, theirs first, because the first ones are
-- dropped when there are too many.
local function marks_of(mine, theirs)
  local marks, seen = {}, {}
  for mark in string.gmatch(theirs .. (mine or ''), string.rep('%x', C.MARK_CHARACTERS)) do
    if not seen[mark] then marks[#marks + 1] = mark end
    seen[mark] = true
  end
  return table.concat(marks, '', math.max(1, #marks - C.MAX_MARKS + 1))
end

-- Fields that are not merged by their value alone.
local OTHERWISE = {
  [F.revision] = true,
  [F.moved_to] = true,
  [F.other_digests] = true,
  [F.inbound_marks] = true,
}

-- A suppression, its end and its reason belong together.
local SUPPRESSION = {
  [F.suppressed_until] = true,
  [F.suppressed_for] = true,
  [F.suppressed_by] = true,
}

-- How many other digests of a person are listed.
local MAX_ALIASES = 32

-- Returns what a person's hash must hold once another one is merged into it, consent left out.
local function merged_fields(mine, theirs, from)
  local merged = {}
  local suppressed = theirs[F.suppressed_until]
  local is_longer = suppressed
    and not outlasts(mine[F.suppressed_until], read_instant(suppressed) or math.huge)
  for name, value in pairs(theirs) do
    if SUPPRESSION[name] then
      if is_longer then merged[name] = value end
    elseif string.match(name, '^' .. F.suspected_stop) then
      -- The first sentence that may mean stop stays the evidence.
      merged[name] = mine[name] or value
    elseif not OTHERWISE[name] and not string.match(name, '^' .. C.CONSENT_FIELD) then
      merged[name] = later_of(mine[name], value)
    end
  end
  local marks = theirs[F.inbound_marks]
  if marks then merged[F.inbound_marks] = marks_of(mine[F.inbound_marks], marks) end
  local others = { mine[F.other_digests] or '', theirs[F.other_digests] or '', from }
  local aliases = distinct_digests(table.concat(others, ' '))
  merged[F.other_digests] = table.concat(aliases, ' ', 1, math.min(#aliases, MAX_ALIASES))
  return merged
end

local function latest_grant(value)
  local latest = 0
  for at in string.gmatch(',' .. (value or ''), ',1:(%d+):') do
    latest = math.max(latest, tonumber(at))
  end
  return latest
end

-- If the last word of a record is a withdrawal, it holds against later grants in the other
-- record, because their author did not know of it. It does not hold against a later START, which
-- came from the person. The next two functions return what to withdraw once more, and as of when.
local function all_outlasting(name, value, stopped, granted, others)
  local account, scope = string.match(name, '^' .. F.opted_out .. '([^|]*)|(.*)$')
  local at = tonumber(value)
  if not account or not at or last_word(stopped, account, true) > at then return nil end
  local both = setmetatable({ [name] = value }, { __index = others })
  if is_undone(name, both, stop_scope(scope)) then return nil end
  local granted_at = last_word(granted, account, true)
  return granted_at > at and { account = account, scope = scope, at = granted_at } or nil
end

local function purpose_outlasting(name, value, fields, others)
  local kind, rest = string.match(name, '^([cd]:)([^|]*|[^*|]+|.*)$')
  -- Older versions wrote a withdrawal of the purpose among the grants.
  local at = kind
    and tonumber(kind == F.purpose_withdrawn and value or string.match(',' .. value, ',0:(%d+):'))
  if not at or latest_grant(fields[F.grants .. rest]) > at then return nil end
  local granted_at = latest_grant(others[F.grants .. rest])
  if granted_at <= at then return nil end
  local account, purpose, place = string.match(rest, '^(.-)|(.-)|(.*)$')
  return { account = account, purpose = purpose, scope = place, at = granted_at, rest = rest }
end

local function outlasting(stopped, granted)
  local found = {}
  local fields, others = read_hash(K.person(stopped)), read_hash(K.person(granted))
  for name, value in pairs(fields) do
    found[#found + 1] = all_outlasting(name, value, stopped, granted, others)
      or purpose_outlasting(name, value, fields, others)
  end
  return found
end

local function withdraw_again(digest, one)
  local line = {
    at = one.at,
    granted = false,
    account = one.account,
    purpose = one.purpose,
    source = 'other spelling',
  }
  if one.scope ~= C.ANY then line.sender = string.match(one.scope, '^[^|]*') end
  if one.purpose then
    unite_consent(K.person(digest), F.purpose_withdrawn .. one.rest, int(one.at))
    append_to_ledger(digest, line)
  else
    opt_out(digest, one.account, one.scope, one.at, line)
  end
end

-- Merges one record of a person into another: the strictest consent, the latest inbound, the
-- longest suppression.
-- The revision becomes higher than both were, so that no decision made before is admitted.
local function merge_records(from, into)
  local theirs, mine = read_hash(K.person(from)), read_hash(K.person(into))
  local key = K.person(into)
  local withdrawals = { outlasting(from, into), outlasting(into, from) }
  merge_consents(from, into)
  for _, each in ipairs(withdrawals) do
    for _, one in ipairs(each) do withdraw_again(into, one) end
  end
  for name, value in pairs(merged_fields(mine, theirs, from)) do
    redis.call('HSET', key, name, value)
  end
  local own = revision_of(redis.call('HGET', key, F.revision))
  local revision = math.max(own, revision_of(theirs[F.revision]))
  redis.call('HSET', key, F.revision, int(revision + 1))
  local posts = K.sent_to(into)
  if redis.call('ZUNIONSTORE', posts, 2, posts, K.sent_to(from), 'AGGREGATE', 'MAX') > 0 then
    redis.call('PEXPIRE', posts, int(C.DAY_MS + 1000))
  end
end
