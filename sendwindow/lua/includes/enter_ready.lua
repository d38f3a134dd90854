-- Adds a lane to `ready` at the lowest virtual time there, so that a lane that comes back has
-- neither saved up turns nor lost any. Returns false when the lane was there already.
local function enter_ready(lane)
  if redis.call('ZSCORE', K.ready, lane) then return false end
  local first = redis.call('ZRANGE', K.ready, 0, 0, 'WITHSCORES')
  local start = first[2] or redis.call('HGET', K.meta, 'vtime') or '0'
  redis.call('ZADD', K.ready, start, lane)
  redis.call('ZREM', K.timers, lane)
  return true
end
