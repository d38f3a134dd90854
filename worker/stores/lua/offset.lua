-- Moves the clock of a sandbox store.
-- ARGV: offset (ms).
-- Returns 1, or 0 on a store that is not a sandbox.
-- Keys: meta, wake.
-- Callers: `Store.set_offset`.

-- include: wake_claimer

if redis.call('HGET', K.meta, 'profile') ~= 'sandbox' then return 0 end
redis.call('HSET', K.meta, 'offset_ms', ARGV[1])
-- The jump may have made timers due, and claimers sleep by their own clock.
wake_claimer()
return 1
