-- Returns all fields of a hash, by name.
local function read_hash(key)
  local listed, fields = redis.call('HGETALL', key), {}
  for at = 1, #listed, 2 do fields[listed[at]] = listed[at + 1] end
  return fields
end
