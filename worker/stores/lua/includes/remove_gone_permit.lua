-- Removes a permit whose message is gone, because nothing asks about it any more. Returns whether
-- it is gone.
local function remove_gone_permit(person, entry)
  if redis.call('EXISTS', K.row(string.match(entry, '^%d+:(.*)$'))) == 1 then return false end
  redis.call('ZREM', K.permits(person), entry)
  return true
end
