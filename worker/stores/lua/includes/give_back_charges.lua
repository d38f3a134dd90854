-- include: int, microseconds, pair_times, rate_times

-- Gives back what the last attempt was charged, because no POST of it began. It does so once: the
-- charges leave the row.
-- An arrival time goes back only if it is still what this charge left. If something was charged
-- since, the later message went out at the earliest instant that this charge allowed. Without the
-- charge, the next one would follow too closely, and a second could have more than the limit. Then
-- one interval is lost instead.
-- Likewise, a person is taken off a portfolio only if no other message was charged for that person
-- since.
local function give_back_charges(id, row, sender, account, now)
  local number, charges = string.match(row[F.charges] or '', '^(%d+)(.*)$')
  if not number then return end
  redis.call('HDEL', K.row(id), F.charges)
  row[F.charges] = nil
  if number ~= int(row[F.attempt]) then return end
  local us = microseconds(now)
  for mark, arrival, cost in string.gmatch(charges, ' (%a)(%d+)%-(%d+)') do
    if mark == 'p' then
      local key = K.pair_rate(row[F.person], sender)
      local last, booked = read_pair(key, us)
      if int(last) == arrival then write_pair(key, last - tonumber(cost), booked, us) end
    else
      local key = mark == 'a' and K.account_rate(account) or K.sender_rate(sender)
      local last, planned = read_rate(key, us)
      if int(last) == arrival then
        -- What is planned beyond the charges is given back by `return_to_plan`.
        write_rate(key, last - tonumber(cost), planned > last and planned or 0, us)
      end
    end
  end
  local name, at, before = string.match(charges, ' |([^|]*)|([%d.]+)|([%d.]*)')
  local key = name and K.portfolio(name)
  if key and tonumber(redis.call('ZSCORE', key, row[F.person]) or '') == tonumber(at) then
    if before ~= '' then
      redis.call('ZADD', key, before, row[F.person])
    else
      redis.call('ZREM', key, row[F.person])
    end
  end
end
