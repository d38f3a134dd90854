-- Marks a store as restored from a copy, reads the mark, or ends it. While the store is marked, no
-- message is claimed.
-- ARGV: begin | read | end; for `begin` the instant of the copy (ms), '' for the last life sign in
-- it.
-- Returns the instant of the copy and when the store was marked (ms; '' when it is not marked), the
-- last life sign ('' for none), and how many processes are alive.
-- Keys: meta, process, processes, wake.
-- Callers: `RestoredStore.read`, `begin` and `end`.

-- include: clock, int, wake_claimer

local action, given_at = ARGV[1], ARGV[2]
local now = clock()

-- Returns how many processes are alive.
local function count_living()
  local living = 0
  for _, id in ipairs(redis.call('ZRANGE', K.processes, 0, -1)) do
    living = living + redis.call('EXISTS', K.process(id))
  end
  return living
end

local alive_at = redis.call('HGET', K.meta, 'alive_at') or ''
local copied_at = given_at ~= '' and given_at or alive_at
local is_marked = redis.call('HEXISTS', K.meta, 'restoring') == 1
if action == 'begin' and copied_at ~= '' and count_living() == 0 and not is_marked then
  redis.call('HSET', K.meta, 'restoring', copied_at, 'restored_at', int(now))
elseif action == 'end' then
  redis.call('HDEL', K.meta, 'restoring', 'restored_at')
  wake_claimer()
end
local got = redis.call('HMGET', K.meta, 'restoring', 'restored_at')
return { got[1] or '', got[2] or '', alive_at, count_living() }
