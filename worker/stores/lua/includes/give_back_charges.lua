-- include: int, microseconds, rate_times

-- Gives back what the last attempt was charged, because no POST of it began. It does so once: the
-- charges leave the row.
-- An arrival time goes back only if it is still what this charge left. If something was charged
-- since, the later message went out at the earliest instant that this charge allowed. Without the
-- charge, the next one would follow too closely, and a second could have more than the limit. Then
-- one interval is lost instead.
local function give_back_charges(id, row, sender, account, now)
  local number, charges = string.match(row[F.charges] or '', '^(%d+)(.*)$')
  if not number then return end
  redis.call('HDEL', K.row(id), F.charges)
  row[F.charges] = nil
  if number ~= int(row[F.attempt]) then return end
  for mark, arrival, cost in string.gmatch(charges, ' (%a)(%d+)%-(%d+)') do
    local key = mark == 'a' and K.account_rate(account)
      or mark == 's' and K.sender_rate(sender)
      or K.pair_rate(row[F.person], sender)
    local us = microseconds(now)
    local last, planned = read_rate(key, us)
    if int(last) == arrival then
      write_rate(key, last - tonumber(cost), planned - tonumber(cost), us)
    end
  end
end
