-- Adds one to a count. A count that is not a number starts again at 1, because no script may fail
-- over it.
local function increment(key, field)
  local number = redis.pcall('HINCRBY', key, field, 1)
  if type(number) ~= 'table' then return number end
  redis.call('HSET', key, field, '1')
  return 1
end
