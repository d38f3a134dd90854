-- include: int

-- Returns how many attempts may be at Twilio without proof. Those stay listed with their person.
-- `row` has at least the attempt and the person. If the number of attempts cannot be read, any
-- entry of the person may be one of them.
local function count_unproven(id, row)
  -- Checked first because usually nothing is listed, and a message may have had many attempts that
  -- were never posted.
  local key = row[F.person] and K.permits(row[F.person])
  if not key or redis.call('ZCARD', key) == 0 then return 0 end
  local last = tonumber(row[F.attempt] or '0')
  if not (last and last <= C.MAX_COUNT) then return 1 end
  local found = 0
  for attempt = 1, last do
    if redis.call('ZSCORE', key, int(attempt) .. ':' .. id) then found = found + 1 end
  end
  return found
end
