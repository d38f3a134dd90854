-- Shares out the questions to Twilio about accounts that may not send, and records the answers.
-- ARGV: 'due', and names of accounts: returns those that this caller asks about now, with a GET:
-- accounts with an open breaker, and accounts that are paused because Twilio refused their
-- credentials. No other caller asks about them for ASK_AGAIN_MS.
-- ARGV: 'answered' or 'accepted', and one name: Twilio answered the GET, so one message of the
-- account may try. 'accepted': and it takes the credentials, so the pause is over.
-- Returns an empty list.
-- Keys: meta, account, parked, wake.
-- Callers: `BreakerStore.due` and `answered`, for the periodic work.

-- include: clock, int, raise_revision, read_state, try_again

local ASK_AGAIN_MS = 5000
-- A question that is further ahead was planned before the store's clock was set back.
local MAX_AHEAD_MS = 60000
local now = clock()
local action, due = ARGV[1], {}

-- Lets one message try. A try that lasts longer than it may began before the store's clock was set
-- back.
local function let_one_try(account, ends)
  local is_stuck = ends ~= C.NEVER_MS and ends > now + C.PROBE_MS
  if not is_stuck and (ends ~= C.NEVER_MS or action == 'due') then return end
  redis.call('HSET', K.account(account), F.breaker_ends_at, int(now))
  try_again(account)
end

local function end_pause(account)
  redis.call('HDEL', K.account(account), F.state_until, F.state_reason)
  raise_revision(K.account(account))
  try_again(account)
end

local function ask(account)
  local asks_at = tonumber(redis.call('HGET', K.account(account), F.breaker_asks_at) or '0') or 0
  if asks_at > now and asks_at <= now + MAX_AHEAD_MS then return end
  redis.call('HSET', K.account(account), F.breaker_asks_at, int(now + ASK_AGAIN_MS))
  due[#due + 1] = account
end

for at = 2, #ARGV do
  local account = ARGV[at]
  local state = read_state(K.account(account), now)
  local ends = state.breaker_ends_at or 0
  local is_refused = state[4] == C.CREDENTIALS_REFUSED
  let_one_try(account, ends)
  if is_refused and action == 'accepted' then end_pause(account) end
  if action == 'due' and (is_refused or ends == C.NEVER_MS) then ask(account) end
end
return due
