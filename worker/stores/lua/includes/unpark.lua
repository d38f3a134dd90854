-- include: lane_rings, parked_as

-- Puts a parked sender or account back into the rings of the classes in which it has work.
local function unpark(kind, name)
  if redis.call('ZREM', K.parked, parked_as(kind, name)) == 0 then return end
  for _, class in ipairs(C.CLASSES) do
    if kind == 'account' then
      if redis.call('EXISTS', K.ring(senders_of(class, name))) == 1 then
        enter_account(class, name)
      end
    elseif redis.call('EXISTS', K.ring(lanes_of(class, name))) == 1 then
      enter_sender(class, name)
    end
  end
end
