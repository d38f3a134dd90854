-- Marks a store as restored from a copy, reads the mark, or ends it. While the store is marked, no
-- message is claimed.
-- ARGV: begin | read | end; for `begin` the instant of the copy (ms), '' for the last life sign in
-- it.
-- Returns the instant of the copy and when the store was marked (ms; '' when it is not marked), the
-- last life sign ('' for none), and how many processes are alive.
-- Keys: meta, process, processes, wake.
-- Callers: `RestoredStore.read`, `begin` and `end`.
local now = clock()

local function living()
  local many = 0
  for _, id in ipairs(redis.call('ZRANGE', K.processes, 0, -1)) do many = many + redis.call('EXISTS', K.process(id)) end
  return many
end

local alive_at = redis.call('HGET', K.meta, 'alive_at') or ''
local copied_at = ARGV[2] ~= '' and ARGV[2] or alive_at
if ARGV[1] == 'begin' and copied_at ~= '' and living() == 0 and redis.call('HEXISTS', K.meta, 'restoring') == 0 then
  redis.call('HSET', K.meta, 'restoring', copied_at, 'restored_at', int(now))
elseif ARGV[1] == 'end' then
  redis.call('HDEL', K.meta, 'restoring', 'restored_at')
  wake()
end
local got = redis.call('HMGET', K.meta, 'restoring', 'restored_at')
return { got[1] or '', got[2] or '', alive_at, living() }
