-- include: ask_to_cancel, int

-- Stages in which a newer message takes the place of an older one.
local SUPERSEDED_IN = C.IN_A_LANE

-- Returns the key that points to the last message with the same sender, address and `supersedes`.
-- `wish`: `<salt> <address> <supersedes>`. The first salt that the store sees is kept, so that no
-- address can be guessed from the name of a key.
local function pointer_key(sender, wish)
  local salt, rest = string.match(wish, '^(%x+) (.*)$')
  redis.call('HSETNX', K.meta, 'salt', salt)
  salt = redis.call('HGET', K.meta, 'salt')
  return K.newest(redis.sha1hex(salt .. ' ' .. sender .. ' ' .. rest))
end

-- Cancels the older message that is still queued and that a new one takes the place of. One that a
-- worker holds is left alone. The pointer may outlive the row of a message, and then name one that
-- is enqueued again. `ends`: when the new message expires (ms).
local function supersede(id, sender, wish, ends, now)
  local pointer = pointer_key(sender, wish)
  local old = redis.call('GET', pointer)
  redis.call('SET', pointer, id, 'PX', int(math.max(1, ends - now)))
  if not old or old == id then return end
  local names = { F.stage, F.cancel_asked, F.attempt, F.person, F.maybe_sent }
  local got = redis.call('HMGET', K.row(old), unpack(names))
  local row = {}
  for index, name in ipairs(names) do row[name] = got[index] or nil end
  if not SUPERSEDED_IN[row[F.stage]] or row[F.cancel_asked] then return end
  is_maybe_sent(old, row)
  redis.call('HSET', K.row(old), F.superseded_by, id)
  mark_cancelled(old, row, now, 'superseded', { by = id })
end
