-- What a message costs its class.
local TURN_COSTS = C.TURN_COSTS

-- Returns the sender and the class of a lane, whose name is
-- `<sender>|<priority>|<campaign or nothing>`. A priority that only a newer version knows counts as
-- bulk.
local function parts_of_lane(lane)
  local sender, priority = string.match(lane, '^(.-)|(.-)|')
  return sender or lane, TURN_COSTS[priority or ''] and priority or C.BULK
end
