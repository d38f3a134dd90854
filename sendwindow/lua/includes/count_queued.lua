-- include: sender_of

-- Counts messages that came into a lane, or left it if `change` is negative. An older library of a
-- producer queues without counting, so a sender's count may be too low, but it is never negative.
local function count_queued(lane, change)
  local sender = sender_of(lane) or lane
  if redis.call('HINCRBY', K.queued, sender, change) < 0 then
    redis.call('HSET', K.queued, sender, '0')
  end
end
