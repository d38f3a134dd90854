-- include: count, int, raise_revision

-- Holds marketing to a person back until an operator has looked. The first sentence stays the
-- evidence. Its text is never stored.
local function suspect_stop(person, account, sender, at, sid)
  count('suspected')
  local key, field = K.person(person), F.suspected_stop .. account
  if redis.call('HEXISTS', key, field) == 1 then return end
  redis.call('HSET', key, field, int(at) .. '|' .. sid .. '|' .. sender)
  redis.call('ZADD', K.suspected_stops, int(at), person .. '|' .. account)
  raise_revision(key)
end
