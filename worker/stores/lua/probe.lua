-- Writes once, so that a store that only answers reads (its disk is full, its primary is gone) is found out. Returns now (ms).
local now = clock()
redis.call('HSET', K.meta, 'probed_at', int(now))
return int(now)
