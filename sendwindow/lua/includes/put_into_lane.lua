-- include: clock, int, make_ready, wake_claimer

-- Puts a message into its lane, due at `due` (ms), and marks the lane: in `ready` if the message is
-- due, else in `timers`.
local function put_into_lane(lane, id, due, now)
  redis.call('ZADD', K.lane(lane), string.format('%.17g', due + lead), id)
  if due <= now then
    make_ready(lane)
  elseif not redis.call('ZSCORE', K.ready, lane) then
    local timer = redis.call('ZSCORE', K.timers, lane)
    if not timer or due + lead < tonumber(timer) then
      redis.call('ZADD', K.timers, int(due + lead), lane)
      wake_claimer()
    end
  end
end
