-- include: set_aside, take_turn

-- What a worker has room for (`ClaimRoom`). `room`, where there is one: `ordinary`, how many more
-- messages that are not urgent; and for accounts and for senders `share`, how many each may have at
-- most, and `held`, how many each has.

-- Returns how many more messages of a class there is room for. `left`: how many in all. `taken`:
-- how many this call has claimed.
local function room_for_class(room, class, left, taken)
  if not room or class == C.URGENT or class == C.EXPIRED_CLASS then return left end
  return math.min(left, room.ordinary - taken)
end

-- Returns how many more messages of an account or a sender there is room for.
local function room_for(room, kind, name)
  if not room then return math.huge end
  return room[kind].share - (room[kind].held[name] or 0)
end

-- Counts a message towards the share of an account or a sender.
local function count_held(room, kind, name)
  if not room then return end
  local held = room[kind].held
  held[name] = (held[name] or 0) + 1
end

local is_short = false

-- Sets a member aside that there is no room for.
local function pass_over(ring, member, score)
  is_short = true
  set_aside(ring, member, score)
end

-- Whether this call left work for which there is no room.
local function has_passed_over()
  return is_short
end

-- Takes the next member out of a ring, and sets those aside that there is no room for.
local function take_with_room(room, kind, ring)
  while true do
    local member, score = take_turn(ring)
    if not member or room_for(room, kind, member) > 0 then return member, score end
    pass_over(ring, member, score)
  end
end
