-- include: account_of_sender, int, lane_rings, leave_ring, parts_of_lane, turn_rings

-- Puts a lane with due messages into the ring of its sender, and what is above it into theirs.
local function enter_lane(lane)
  local sender, class = parts_of_lane(lane)
  if enter_ring(lanes_of(class, sender), lane) then enter_sender(class, sender) end
end

-- Takes an account out of the ring of a class, and the class out of its ring if it has no other.
local function leave_account(class, account)
  if leave_ring(class, account) then leave_ring(C.CLASSES_RING, class) end
end

-- Takes a sender out of the ring of its account, and the account if it has no other.
local function leave_sender(class, account, sender)
  if leave_ring(senders_of(class, account), sender) then leave_account(class, account) end
end

-- Takes a sender or an account out of the rings until an instant (ms).
local function park(kind, name, ends)
  are_parked = true
  redis.call('ZADD', K.parked, int(ends), parked_as(kind, name))
  for _, class in ipairs(C.CLASSES) do
    if kind == 'account' then
      leave_account(class, name)
    else
      leave_sender(class, account_of_sender(name), name)
    end
  end
end
