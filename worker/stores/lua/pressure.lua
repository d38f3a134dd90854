-- Records how full the store is, so that producers can read it. Unlike HSET by itself, it may write
-- to a store that is full.
-- ARGV: percent. Returns 1.
-- Keys: meta.
-- Callers: `Store.publish_pressure`, for the dispatcher.

redis.call('HSET', K.meta, 'pressure', ARGV[1])
return 1
