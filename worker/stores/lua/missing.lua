-- Takes accepted messages of one account that have no final status, as accounts take turns. It
-- returns none of them again before the given time. A message that was never asked for goes before
-- all others. The older a message is, the longer it waits until it is asked for again.
-- ARGV: a JSON object: limit, quiet_for (ms), again_after (ms), give_up_after (ms since
-- acceptance), is_last_step (take messages although more are due that are not in their queue yet),
-- passed_over (a list of accounts).
-- Returns 1 when the same call would find more at once, then id, attempt, sid, sender for each.
-- Keys: meta, undelivered, fetch, fetches, rings, row, sender, counts.
-- Callers: `UnknownStore.missing`, for the worker that looks at Twilio's list.

-- include: account_of_sender, clock, count, int, load_row, read_instant, rings, sender_of, set_of

-- How many times its age a message waits until it is asked for again.
local AGE_FACTOR = 5
-- A queue that was lost, or that an older worker does not know, is built again after this (ms).
local MADE_AGAIN_MS = 3600000
-- Puts a message behind all that were never asked for: every instant is smaller.
local BEHIND_MS = 1e13
local asked = cjson.decode(ARGV[1])
local quiet, give_up = asked.quiet_for, asked.give_up_after
local passed_over = set_of(asked.passed_over)
local now = clock()

-- Whether a status may still come. A message that is too old, or gone, leaves the list and is
-- counted.
local function is_waiting(id, row)
  local is_accepted = row and row[F.stage] == C.ACCEPTED
  if is_accepted and now - (read_instant(row[F.ended_at]) or 0) < give_up then return true end
  local was_listed = redis.call('ZREM', K.undelivered, id) == 1
  if was_listed and (not row or is_accepted) then count('status_never_final') end
  return false
end

local function enter_due()
  local due = redis.call('ZRANGEBYSCORE', K.undelivered, '-inf', int(now - quiet),
    'WITHSCORES', 'LIMIT', 0, C.MAX_RING_MOVES)
  for at = 1, #due, 2 do
    local id, score = due[at], tonumber(due[at + 1])
    local row = load_row(id)
    if is_waiting(id, row) then
      local account = account_of_sender(sender_of(row[F.lane]))
      local turn = score > tonumber(row[F.ended_at]) and score + BEHIND_MS or score
      redis.call('ZADD', K.fetch(account), 'NX', int(turn), id)
      ring_enter(K.fetches, account, 0)
      redis.call('ZADD', K.undelivered, int(now - quiet + MADE_AGAIN_MS), id)
    end
  end
  return #due == 2 * C.MAX_RING_MOVES
end

local function next_account()
  local account = ring_next(K.fetches, function(name)
    if redis.call('ZCARD', K.fetch(name)) == 0 then return nil end
    return not passed_over[name]
  end)
  if account then ring_charge(K.fetches, account, 1) end
  return account
end

local function take(account)
  local taken = {}
  for _, id in ipairs(redis.call('ZRANGE', K.fetch(account), 0, asked.limit - 1)) do
    redis.call('ZREM', K.fetch(account), id)
    local row = load_row(id)
    if is_waiting(id, row) then
      local accepted = tonumber(row[F.ended_at])
      local wait = math.max(asked.again_after, AGE_FACTOR * (now - accepted))
      local due = math.min(now + wait, accepted + give_up)
      redis.call('ZADD', K.undelivered, int(due - quiet), id)
      local sender = sender_of(row[F.lane])
      taken[#taken + 1] = { id, row[F.accepted_attempt], row[F.message_sid], sender }
    end
  end
  return taken
end

if enter_due() and not asked.is_last_step then return { 1, {} } end
local account = next_account()
return { account and 1 or 0, account and take(account) or {} }
