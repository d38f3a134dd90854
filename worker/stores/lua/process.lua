-- Records that a process is alive, and with which settings.
-- ARGV: process id, how long (ms) it counts as alive, JSON object.
-- Returns 1 while the store is marked as restored from a copy, else 0.
-- Keys: meta, process, processes.
-- Callers: `ProcessStore.note`.
local now = clock()
redis.call('SET', K.process(ARGV[1]), ARGV[3], 'PX', ARGV[2])
redis.call('ZADD', K.processes, int(now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', K.processes, '-inf', int(now - ARGV[2]))
redis.call('HSET', K.meta, 'alive_at', int(now))
return redis.call('HEXISTS', K.meta, 'restoring')
