-- include: enter_ready, wake_claimer

-- Adds a lane to `ready`, and wakes a claimer if the lane was not there yet.
local function make_ready(lane)
  if enter_ready(lane) then wake_claimer() end
end
