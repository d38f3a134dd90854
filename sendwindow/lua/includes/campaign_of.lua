-- Returns the campaign of a lane as `<sender>|<campaign>`, nil when the lane has none.
local function campaign_of(lane)
  local sender, campaign = string.match(lane, '^(.-)|.-|(.+)$')
  return sender and sender .. '|' .. campaign
end
