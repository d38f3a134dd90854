-- include: list_expiry, read_expiry

-- Lists a message that comes back to its lane by its expiry, unless it was listed for the same
-- minute when it came back before. A claim lists only what is queued behind what it listed last.
local function list_expiry_again(id, row, now)
  local expires = read_expiry(row[F.expires_at])
  if not expires then return end
  if (read_expiry(row[F.expiry_listed]) or -1) >= math.floor(expires / C.MINUTE_MS) then return end
  row[F.expiry_listed] = list_expiry(id, expires, now)
  redis.call('HSET', K.row(id), F.expiry_listed, row[F.expiry_listed])
end
