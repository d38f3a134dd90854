-- include: account_of_sender, campaign_of, lane_rings, parts_of_lane, turn_rings

-- Gives a sender whose lanes have work its turns again, at every level at which they are missing.
local function restore_path(class, sender)
  if is_parked('sender', sender) then return end
  local account = account_of_sender(sender)
  enter_ring(senders_of(class, account), sender)
  if is_parked('account', account) then return end
  enter_ring(class, account)
  enter_ring(C.CLASSES_RING, class)
end

-- Puts a lane with due messages into the ring of its sender, and what is above it into theirs,
-- unless its campaign is parked.
-- The classes are checked each time, so that a call that broke off leaves none out for long.
local function enter_lane(lane)
  if is_parked('campaign', campaign_of(lane)) then return end
  local sender, class = parts_of_lane(lane)
  if enter_ring(lanes_of(class, sender), lane) then
    enter_sender(class, sender)
  elseif not redis.call('ZSCORE', K.ring(C.CLASSES_RING), class) then
    restore_path(class, sender)
  end
end
