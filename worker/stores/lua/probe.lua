-- Writes once, so that a store that only serves reads (its disk is full, or its primary is gone) is
-- noticed.
-- Returns now (ms).
-- Keys: meta.
-- Callers: `RecordStore.probe`, for the health check of the gateway.

-- include: clock, int

local now = clock()
redis.call('HSET', K.meta, 'probed_at', int(now))
return int(now)
