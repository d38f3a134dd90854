-- include: delete_records, int, merge_records, read_hash, revision_of

-- Lists the suspected stops of a record under the digest that it moves to.
local function move_suspected_stops(from, into)
  for name, value in pairs(read_hash(K.person(from))) do
    local account = string.match(name, '^' .. F.suspected_stop .. '([^|]*)$')
    if account then
      redis.call('ZREM', K.suspected_stops, from .. '|' .. account)
      local since = string.match(value, '^%d+') or '0'
      redis.call('ZADD', K.suspected_stops, 'NX', since, into .. '|' .. account)
    end
  end
end

-- Moves what is recorded of a person under one digest to another, and leaves a pointer.
local function move_records(from, into)
  local key = K.person(from)
  local revision = revision_of(redis.call('HGET', key, F.revision))
  move_suspected_stops(from, into)
  merge_records(from, into)
  delete_records(from)
  -- The revision rises here too, so that what an older worker decided by the old record is not
  -- admitted.
  redis.call('HSET', key, F.moved_to, into, F.revision, int(revision + 1))
end
