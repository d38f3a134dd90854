-- include: enter_lane, lane_rings, parked_as

-- Puts a parked sender, account or campaign back into the rings of the classes in which it has
-- work. A lane of a campaign whose messages are due later waits on a timer again after a turn.
local function unpark(kind, name)
  if redis.call('ZREM', K.parked, parked_as(kind, name)) == 0 then return end
  local sender, campaign = string.match(name, '^(.-)|(.*)$')
  if kind == 'campaign' then redis.call('HDEL', K.campaign(name), F.paused_until) end
  for _, class in ipairs(C.CLASSES) do
    if kind == 'campaign' then
      local lane = sender .. '|' .. class .. '|' .. campaign
      if redis.call('EXISTS', K.lane(lane)) == 1 then enter_lane(lane) end
    elseif kind == 'account' then
      if redis.call('EXISTS', K.ring(senders_of(class, name))) == 1 then
        enter_account(class, name)
      end
    elseif redis.call('EXISTS', K.ring(lanes_of(class, name))) == 1 then
      enter_sender(class, name)
    end
  end
end
