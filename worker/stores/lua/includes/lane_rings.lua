-- include: account_of_sender, parked_as, turn_rings

-- Who has the next turn is decided level by level: a class, in it an account, then a sender, then
-- one of its lanes. A lane with due messages is in the ring of its sender. A sender with such a
-- lane is in the ring of its account, an account in that of the class, and a class in the ring of
-- classes.
-- A sender or an account that may not send is parked: it is in no ring, whatever is queued for it.
-- So is a paused campaign, which is one lane in each class. Parking and returning cost the same,
-- however many messages or lanes there are.

-- Returns the name of the ring of a sender's lanes in a class.
local function lanes_of(class, sender)
  return class .. '|lanes|' .. sender
end

-- Returns the name of the ring of an account's senders in a class.
local function senders_of(class, account)
  return class .. '|senders|' .. account
end

local are_parked

-- Whether a sender, an account or a campaign is parked. `name` may be nil, for no campaign.
local function is_parked(kind, name)
  if not name then return false end
  if are_parked == nil then are_parked = redis.call('EXISTS', K.parked) == 1 end
  return are_parked and redis.call('ZSCORE', K.parked, parked_as(kind, name)) ~= false
end

-- Gives an account turns in a class, and the class turns, unless the account is parked.
local function enter_account(class, account)
  if is_parked('account', account) then return end
  if enter_ring(class, account) then enter_ring(C.CLASSES_RING, class) end
end

-- Gives a sender turns in a class, and its account, unless the sender is parked.
local function enter_sender(class, sender)
  if is_parked('sender', sender) then return end
  local account = account_of_sender(sender)
  if enter_ring(senders_of(class, account), sender) then enter_account(class, account) end
end
