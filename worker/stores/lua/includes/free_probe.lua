-- include: int, try_again

-- Accounts of which this call knows that no message of theirs tries.
local without_probe = {}

-- Lets another message of an account try, if this one was to and did not. `wait`: not before (ms).
local function free_probe(id, account, wait, now)
  if without_probe[account] then return end
  local key = K.account(account)
  local probe = redis.call('HGET', key, F.breaker_probe)
  if probe ~= id then
    without_probe[account] = not probe
    return
  end
  redis.call('HDEL', key, F.breaker_probe)
  redis.call('HSET', key, F.breaker_ends_at, int(now + wait))
  try_again(account)
end
