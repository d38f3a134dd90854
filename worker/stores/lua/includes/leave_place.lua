-- include: attempt_key, int, parked_as, wake_claimer

-- Gives up the place that the last attempt has among the open POSTs of its account. If the account
-- is parked for want of a place, the next claim looks at it again.
local function leave_place(id, row, account, now)
  local number, charges = string.match(row[F.charges] or '', '^(%d+)(.*)$')
  if number == int(row[F.attempt]) and string.find(charges, ' o', 1, true) then
    redis.call('ZREM', K.open_posts(account), attempt_key(id, row[F.attempt]))
    local member = parked_as('account', account)
    if redis.call('ZADD', K.parked, 'XX', 'LT', 'CH', int(now), member) == 1 then wake_claimer() end
  end
end
