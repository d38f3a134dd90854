-- include: attempt_key, int

-- Gives up the place that the last attempt has among the open POSTs of its account.
local function leave_place(id, row, account)
  local number, charges = string.match(row[F.charges] or '', '^(%d+)(.*)$')
  if number == int(row[F.attempt]) and string.find(charges, ' o', 1, true) then
    redis.call('ZREM', K.open_posts(account), attempt_key(id, row[F.attempt]))
  end
end
