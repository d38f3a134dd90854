-- Moves the clock of a sandbox store. ARGV: offset (ms). Answers 1, or 0 on a store that is not a sandbox.
if redis.call('HGET', K.meta, 'profile') ~= 'sandbox' then return 0 end
redis.call('HSET', K.meta, 'offset_ms', ARGV[1])
-- Timers that fell due by the jump: claimers sleep by their own clock.
wake()
return 1
