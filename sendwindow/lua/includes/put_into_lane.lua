-- include: clock, count_queued, int, make_ready, wake_claimer

-- Puts a message into its lane, due at `due` (ms), and marks the lane: in `ready` if the message is
-- due, else in `timers`. It counts a message that is new there, or adds it to `added`, lane →
-- number, if the caller counts.
local function put_into_lane(lane, id, due, now, added)
  if redis.call('ZADD', K.lane(lane), string.format('%.17g', due + lead), id) == 1 then
    if added then added[lane] = (added[lane] or 0) + 1 else count_queued(lane, 1) end
  end
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
