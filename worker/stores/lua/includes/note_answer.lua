-- include: close_breaker, free_probe, int, try_again

-- How many POSTs of an account end without an answer, with no answer between, until its breaker
-- opens.
local MAX_FAULTS = 3
-- When Twilio is asked for the first time after the breaker opened.
local FIRST_ASK_MS = 1000
-- How long Twilio is not asked after a message that tried got no answer, and how many such waits
-- there are until they grow. Each may leave an unknown outcome.
local ASK_AGAIN_MS = 8000
local MAX_EQUAL_WAITS = 4
local MAX_ASK_AGAIN_MS = 60000
-- Accounts of which this call knows that there is nothing to forget.
local without_faults = {}

local FAULT_FIELDS = {
  F.breaker_faults, F.breaker_ends_at, F.breaker_probe, F.breaker_probes, F.breaker_opened_at,
}

local function wait_until_asked(account, wait, now)
  redis.call('HSET', K.account(account), F.breaker_ends_at, C.NEVER_MS,
    F.breaker_asks_at, int(now + wait))
end

-- Counts a POST without an answer. Returns 'opened' when that opens the breaker.
local function note_fault(id, account, reason, now)
  local key = K.account(account)
  local _, ends, probe = unpack(redis.call('HMGET', key, unpack(FAULT_FIELDS)))
  without_faults[account] = nil
  redis.call('HSET', key, F.breaker_reason, reason)
  if not ends then
    if redis.call('HINCRBY', key, F.breaker_faults, 1) < MAX_FAULTS then return end
    redis.call('HSET', key, F.breaker_opened_at, int(now))
    wait_until_asked(account, FIRST_ASK_MS, now)
    return 'opened', 0
  elseif probe == id then
    local failed = redis.call('HINCRBY', key, F.breaker_probes, 1)
    redis.call('HDEL', key, F.breaker_probe)
    local doublings = math.min(10, math.max(0, failed - MAX_EQUAL_WAITS))
    wait_until_asked(account, math.min(MAX_ASK_AGAIN_MS, ASK_AGAIN_MS * 2 ^ doublings), now)
  end
end

-- Records that Twilio answered a POST. Returns 'closed' when that closes the breaker, and for how
-- long (ms) it was open. A message that was posted before the breaker opened does not close it.
local function note_reply(id, account, now)
  if without_faults[account] then return end
  local faults, ends, probe, _, opened_at =
    unpack(redis.call('HMGET', K.account(account), unpack(FAULT_FIELDS)))
  if ends and probe ~= id then return end
  without_faults[account] = true
  if not faults and not ends then return end
  close_breaker(account)
  if not ends then return end
  try_again(account)
  return 'closed', math.max(0, now - (tonumber(opened_at) or now))
end

-- Records what a settlement says about its account: whether Twilio answered a POST. Where it says
-- nothing and its message was to try, another may.
local function note_answer(settlement, now)
  local id, account = settlement.id, settlement.account or ''
  if account == '' then return end
  if settlement.answered then return note_reply(id, account, now) end
  if settlement.answered == false then
    return note_fault(id, account, settlement.reason, now)
  end
  -- A message that could not be posted is not tried again at once.
  if not without_faults[account] then
    free_probe(id, account, settlement.attempt > 0 and FIRST_ASK_MS or 0, now)
  end
end
