-- Wakes one of the claimers that wait for work.
local function wake_claimer()
  redis.call('LPUSH', K.wake, '1')
  redis.call('LTRIM', K.wake, 0, C.MAX_WAKE_TOKENS - 1)
end
