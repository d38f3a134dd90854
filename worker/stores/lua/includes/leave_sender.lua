-- include: lane_rings, leave_ring

-- Takes an account out of the ring of a class, and the class out of its ring if it has no other.
local function leave_account(class, account)
  if leave_ring(class, account) then leave_ring(C.CLASSES_RING, class) end
end

-- Takes a sender out of the ring of its account, and the account if it has no other.
local function leave_sender(class, account, sender)
  if leave_ring(senders_of(class, account), sender) then leave_account(class, account) end
end
