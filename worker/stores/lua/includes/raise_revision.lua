-- Raises a revision. One that is not a number becomes one that no decision has seen, because no
-- change may fail over it.
local function raise_revision(key)
  if type(redis.pcall('HINCRBY', key, F.revision, 1)) == 'table' then
    redis.call('HSET', key, F.revision, redis.call('TIME')[1] .. '000')
  end
end
