-- include: park, rest, take_turn, turn_rings

-- A claim leaves work for another time when this worker has no room for it, or when its sender or
-- its account may not send. Whose turn that is, is taken out of its ring until the end of the call,
-- so that every ring is whole again before anything is parked.

-- Ring, member and score of each. And what is to be parked: kind, name and until when (ms).
local aside, to_park = {}, {}

-- Sets a member aside that was taken out of a ring.
local function set_aside(ring, member, score)
  aside[#aside + 1] = { ring, member, score }
  has_aside[ring] = true
end

-- Has a sender or an account parked at the end of the call.
local function park_later(kind, name, ends)
  to_park[#to_park + 1] = { kind, name, ends }
end

-- Returns how many are to be parked.
local function number_to_park()
  return #to_park
end

-- Sets a sender or an account aside that is to be parked.
local function set_aside_to_park(ring, kind, name, score, ends)
  set_aside(ring, name, score)
  park_later(kind, name, ends)
end

-- Puts what was set aside back, and parks what gives no messages. Nothing has saved turns up.
local function return_aside()
  for _, each in ipairs(aside) do
    local ring, member, score = unpack(each)
    if times[ring] and pass_of(score) < times[ring] then score = score_of(times[ring]) end
    return_turn(ring, member, score)
  end
  has_aside = {}
  for _, each in ipairs(to_park) do park(unpack(each)) end
end
