-- include: permits_left

-- Returns the milliseconds until the last unsettled permit of any of these digests lapses. It is
-- negative when that permit has lapsed, and 0 when every permit is settled.
local function open_permits(digests, now)
  local longest
  for _, digest in ipairs(digests) do
    local left = permits_left(digest, now)
    if left ~= 0 then longest = math.max(longest or left, left) end
  end
  return longest or 0
end
