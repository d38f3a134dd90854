-- include: rest, take_turn, turn_rings

-- A worker leaves work for others when it has no room for it. Whose turn that is, is taken out of
-- its ring until the end of the call.

-- Ring, member and score of each.
local aside = {}

-- Sets a member aside that was taken out of a ring.
local function set_aside(ring, member, score)
  aside[#aside + 1] = { ring, member, score }
  has_aside[ring] = true
end

-- Whether this call passed work over.
local function has_passed_over()
  return #aside > 0
end

-- Puts what was set aside back. It has saved no turns up.
local function return_aside()
  for _, each in ipairs(aside) do
    local ring, member, score = unpack(each)
    if times[ring] and pass_of(score) < times[ring] then score = score_of(times[ring]) end
    return_turn(ring, member, score)
  end
  has_aside = {}
end
