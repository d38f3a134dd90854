-- include: list_expiry, read_expiry

-- Lists a message that comes back to its lane by its expiry, unless it was listed for the same
-- minute when it came back before, and that minute is not over. A claim lists only what is queued
-- behind what it listed last, and a list is gone once its minute is over.
local function list_expiry_again(id, row, now)
  local expires = read_expiry(row[F.expires_at])
  if not expires then return end
  local minute, listed = math.floor(expires / C.MINUTE_MS), read_expiry(row[F.expiry_listed])
  if listed and listed >= minute and expires > now then return end
  row[F.expiry_listed] = list_expiry(id, expires, now)
  redis.call('HSET', K.row(id), F.expiry_listed, row[F.expiry_listed])
end
