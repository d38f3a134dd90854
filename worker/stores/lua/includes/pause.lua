-- include: int, outlasts, raise_revision

-- Pauses a sender or an account, unless it is paused for longer already.
local function pause(key, until_ms, reason, now)
  local ends = redis.call('HGET', key, F.state_until)
  if outlasts(ends, until_ms) then return end
  redis.call('HSET', key, F.state_until, int(until_ms), F.state_reason, reason)
  if not outlasts(ends, now) then redis.call('HSET', key, F.paused_at, int(now)) end
  raise_revision(key)
end
