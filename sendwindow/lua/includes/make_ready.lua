-- include: enter_ready, wake_claimer

-- Marks a lane that has due messages, and wakes a claimer if it was not marked yet.
local function make_ready(lane)
  if enter_ready(lane) then wake_claimer() end
end
