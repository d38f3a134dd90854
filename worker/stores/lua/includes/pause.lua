-- include: int, outlasts, raise_revision

-- Pauses a sender or an account, unless it is paused for longer already.
local function pause(key, until_ms, reason)
  if outlasts(redis.call('HGET', key, F.state_until), until_ms) then return end
  redis.call('HSET', key, F.state_until, int(until_ms), F.state_reason, reason)
  raise_revision(key)
end
