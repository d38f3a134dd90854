-- include: count, int, outlasts, raise_revision, source_of

-- Holds messages to a person back. `holds`: which messages. `sender`: C.ANY means every
-- sender of the account. `ends`: nil means without a term.
-- Each code has a field of its own, so that what one error taught does not end with the term of
-- another.
local function hold_back(who, block)
  local key = K.person(who.digest)
  local scope = { who.account, block.sender, block.holds, int(block.code) }
  local field = F.block .. table.concat(scope, '|')
  local before = redis.call('HGET', key, field)
  if before and outlasts(string.match(before, '^(.-):') or '?', block.at) then return false end
  local ends = block.ends and int(block.ends) or ''
  local flag = block.until_inbound and '1' or '0'
  local parts = { int(block.at), ends, flag, source_of(who) }
  redis.call('HSET', key, field, table.concat(parts, ':'))
  raise_revision(key)
  count('held_back:' .. block.holds)
  return true
end
