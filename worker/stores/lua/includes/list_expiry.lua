-- include: int

-- Lists a message under the minute in which it expires, so that it ends when that is over,
-- wherever it is queued. What has expired already ends with the next claim. Returns the minute,
-- counted since 1970.
local function list_expiry(id, expires, now)
  local last = math.floor(now / C.MINUTE_MS) - 1
  local minute = math.max(last, math.floor(expires / C.MINUTE_MS))
  redis.call('RPUSH', K.expiring(int(minute)), id)
  redis.call('ZADD', K.expiries, int((minute + 1) * C.MINUTE_MS), int(minute))
  return int(minute)
end
