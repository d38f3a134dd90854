-- include: int

-- Limits how many POSTs an account has open. Each entry of the set is one attempt. It leaves the
-- set when the outcome is recorded or the lease is reaped, and at its end at the latest, so that no
-- crash holds a place forever.

local open_by_key, turned_away_by_key = {}, {}

-- Returns until when (ms) a message waits for a place, nil when there is one. No store knows when a
-- POST ends. As many messages as there are places come back in each wait.
local function busy_until(limit, key, now)
  if not open_by_key[key] then
    redis.call('ZREMRANGEBYSCORE', key, '-inf', int(now))
    open_by_key[key] = redis.call('ZCARD', key)
  end
  if open_by_key[key] < limit[1] then return nil end
  local before = turned_away_by_key[key] or 0
  turned_away_by_key[key] = before + 1
  return now + C.BUSY_AGAIN_MS * (1 + before / limit[1])
end

-- Takes a place for an attempt. Returns what `leave_place` needs, as it is stored.
local function take_place(limit, key, attempt, now)
  redis.call('ZADD', key, int(now + limit[2]), attempt)
  redis.call('PEXPIRE', key, int(limit[2] + 1000))
  open_by_key[key] = open_by_key[key] + 1
  return ' o'
end
