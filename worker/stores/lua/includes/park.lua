-- include: account_of_sender, int, leave_sender, parked_as

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
