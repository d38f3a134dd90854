-- Forgets what POSTs of an account said about Twilio. Returns how many fields there were.
local function close_breaker(account)
  return redis.call('HDEL', K.account(account), F.breaker_faults, F.breaker_reason,
    F.breaker_opened_at, F.breaker_ends_at, F.breaker_probe, F.breaker_probes, F.breaker_asks_at)
end
