-- include: raise_revision

-- Takes a suspected stop off the list. Returns the MessageSid of its evidence ('' if unreadable),
-- nil when there was no suspected stop.
local function clear_suspected_stop(person, account)
  local key, field = K.person(person), F.suspected_stop .. account
  local held = redis.call('HGET', key, field)
  redis.call('ZREM', K.suspected_stops, person .. '|' .. account)
  if not held then return nil end
  redis.call('HDEL', key, field)
  raise_revision(key)
  return string.match(held, '^%d+|(.-)|') or ''
end
