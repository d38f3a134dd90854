-- include: count_queued

-- Takes a message out of a lane, if it is there. It counts that, or adds it to `removed`, lane →
-- number, if the caller counts.
local function remove_from_lane(lane, id, removed)
  if redis.call('ZREM', K.lane(lane), id) == 0 then return end
  if removed then removed[lane] = (removed[lane] or 0) + 1 else count_queued(lane, -1) end
end
