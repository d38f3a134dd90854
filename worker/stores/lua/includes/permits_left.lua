-- include: remove_gone_permit

-- Returns the milliseconds by the store's clock until the last unsettled permit of a person lapses.
-- It is 0 when every permit is settled, and negative when the last one has lapsed by that clock,
-- which may have jumped.
-- A settled permit whose attempt is unproven stays listed, with a score that ends in a half.
local function permits_left(person, now)
  local latest
  local entries = redis.call('ZRANGE', K.permits(person), 0, -1, 'WITHSCORES')
  for at = 2, #entries, 2 do
    local ends = tonumber(entries[at])
    if not remove_gone_permit(person, entries[at - 1]) and ends % 1 == 0 then
      latest = math.max(latest or ends, ends)
    end
  end
  if not latest then return 0 end
  local left = math.ceil(latest - now)
  return left == 0 and -1 or left
end
