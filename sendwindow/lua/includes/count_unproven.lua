-- include: int

-- Returns how many attempts may be at Twilio without proof. Those stay listed with their person.
-- `row` has at least the attempt and the person.
local function count_unproven(id, row)
  -- Checked first because usually nothing is listed, and a message may have had many attempts that
  -- were never posted.
  local key = row[F.person] and K.permits(row[F.person])
  if not key or redis.call('ZCARD', key) == 0 then return 0 end
  local found = 0
  for attempt = 1, tonumber(row[F.attempt]) do
    if redis.call('ZSCORE', key, int(attempt) .. ':' .. id) then found = found + 1 end
  end
  return found
end
