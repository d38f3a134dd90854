-- Returns the sender of a lane, whose name is `<sender>|<priority>|<campaign or nothing>`.
local function sender_of(lane)
  return string.match(lane, '^(.-)|')
end
