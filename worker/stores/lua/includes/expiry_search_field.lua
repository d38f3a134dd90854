-- Returns the field of the meta key that says where the search of a paused lane for expired
-- messages continues. The field goes when the pause ends, or with the lane.
local function expiry_search_field(lane)
  return 'look:' .. lane
end
