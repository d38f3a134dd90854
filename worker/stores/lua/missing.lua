-- Takes accepted messages of one account that have no final status, as accounts take turns. It
-- returns none of them again before the given time. A message that was never asked for goes before
-- all others. The older a message is, the longer it waits until it is asked for again.
-- ARGV: limit, quiet for (ms), again after (ms), give up after (ms since acceptance), 1 to take
-- messages although more are due that are not in their queue yet, accounts to pass over.
-- Returns 1 when the same call would find more at once, then id, attempt, sid, sender for each.
-- Keys: meta, undelivered, fetch, fetches, rings, row, sender, counts.
-- Callers: `UnknownStore.missing`, for the worker that looks at Twilio's list.
local SLOWER = 5
-- A queue that was lost, or that an older worker does not know, is built again after this (ms).
local MADE_AGAIN = 3600000
-- Puts a message behind all that were never asked for: every instant is smaller.
local BEHIND = 1e13
local limit, quiet = tonumber(ARGV[1]), tonumber(ARGV[2])
local again, give_up = tonumber(ARGV[3]), tonumber(ARGV[4])
local is_last_step = ARGV[5] == '1'
local passed_over = names_from(6)
local now = clock()

-- Whether a status may still come. A message that is too old, or gone, leaves the list and is
-- counted.
local function is_waiting(id, row)
  if row and row.s == 'accepted' and now - (instant(row.z) or 0) < give_up then return true end
  local was_listed = redis.call('ZREM', K.undelivered, id) == 1
  if was_listed and (not row or row.s == 'accepted') then count('status_never_final') end
  return false
end

local function enter_due()
  local oldest = { K.undelivered, '-inf', int(now - quiet), 'WITHSCORES', 'LIMIT', 0, STEP }
  local due = redis.call('ZRANGEBYSCORE', unpack(oldest))
  for at = 1, #due, 2 do
    local id, score = due[at], tonumber(due[at + 1])
    local row = load(id)
    if is_waiting(id, row) then
      local account = account_of_sender(sender_of(row.l))
      local turn = score > tonumber(row.z) and score + BEHIND or score
      redis.call('ZADD', K.fetch(account), 'NX', int(turn), id)
      ring_enter(K.fetches, account, 0)
      redis.call('ZADD', K.undelivered, int(now - quiet + MADE_AGAIN), id)
    end
  end
  return #due == 2 * STEP
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
  for _, id in ipairs(redis.call('ZRANGE', K.fetch(account), 0, limit - 1)) do
    redis.call('ZREM', K.fetch(account), id)
    local row = load(id)
    if is_waiting(id, row) then
      local accepted = tonumber(row.z)
      local due = math.min(now + math.max(again, SLOWER * (now - accepted)), accepted + give_up)
      redis.call('ZADD', K.undelivered, int(due - quiet), id)
      taken[#taken + 1] = { id, row.a, row.sid, sender_of(row.l) }
    end
  end
  return taken
end

if enter_due() and not is_last_step then return { 1, {} } end
local account = next_account()
return { account and 1 or 0, account and take(account) or {} }
