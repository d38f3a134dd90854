-- Takes up to `limit` due messages from all ready lanes. The lane with the lowest virtual time
-- comes first, with at most MAX_QUANTUM_MESSAGES messages at once.
-- A suspect (a message that two workers crashed on) leaves its lane for a separate list. A worker
-- claims each suspect alone.
-- Repeated with the same request id, it returns the same messages while their leases last.
-- ARGV: a JSON object, inner and outer block of the person key. The object: worker (its id),
-- request (its id), limit, lease (ms), suspects ('never'; 'first'; 'last': only while nothing else
-- is due).
-- Returns: now (ms); next due (ms, -1: none); for each message
--   id, fence, payload or false, n, expires, on_unknown, redecided, crashes, cancel asked,
--     enqueued, free attempts, facts;
-- 1 when a suspect is due and this worker should drain for it, else 0; and the ids of messages that
-- were found for the first time in a stage, or with a number, that only a newer version knows.
-- Keys: meta, row, job, lane, ready, timers, suspects, leases, waiting, fence, last_claim, wake,
-- counts; for the facts sender, account, template, contents, tag_state, person, sent_to; and, when
-- a person's digests are gathered, consents and suspected_stops.
-- Callers: `LedgerStore.claim`, for the claimer of each worker.

-- include: account_of_sender, clock, content_sid_of, count, enter_ready, expiry_search_field
-- include: gather, in_a_lane, int, message_of, persons_of, put_into_lane, read_count
-- include: read_expiry, read_facts, read_instant, read_state, remove_from_place, sender_of
-- include: try_decode, wake_claimer

-- How many messages a lane gives in one turn.
local MAX_QUANTUM_MESSAGES = 8
-- How many lanes one call moves.
local MAX_MOVED_LANES = 256
-- How many messages of a list one call looks at.
local MAX_SEEN_MESSAGES = 256
-- When a paused lane is looked at again: after its whole search for expired messages, and during
-- it.
local RECHECK_MS = 60000
local CONTINUE_MS = 50
-- A smaller step back of the clock is ignored, because no message waits longer than that.
local MIN_STEP_MS = 1000
local WEIGHTS = { urgent = 16, normal = 4, bulk = 1 }
local claim, inner, outer = cjson.decode(ARGV[1]), ARGV[2], ARGV[3]
local limit, lease = claim.limit, claim.lease
local now = clock()
local cache, accounts = {}, {}
local claimed, ids = {}, {}
local fence
local found_suspect = false
local unreadable = {}

local function account_of(sender)
  if not accounts[sender] then accounts[sender] = account_of_sender(sender) end
  return accounts[sender]
end

local FIELDS = {
  F.stage, F.attempt, F.expires_at, F.on_unknown, F.redecided, F.crashes, F.cancel_asked,
  F.enqueued_at, F.fence, F.awaited, F.lane, F.free_attempts, F.uncounted, F.not_before,
}

-- Returns what a claim looks at of a row, nil when there is none.
local function read_row(id)
  local got = redis.call('HMGET', K.row(id), unpack(FIELDS))
  if not got[1] then return nil end
  local row = {}
  for index, name in ipairs(FIELDS) do row[name] = got[index] or nil end
  return row
end

local function hand_out(id, row)
  local payload = redis.call('GET', K.job(id))
  local message = message_of(payload)
  local has_address = message and type(message.to) == 'string'
  local digests = has_address and gather(persons_of(message.to, inner, outer)) or ''
  local sender = sender_of(row[F.lane])
  local content_sid = content_sid_of(message)
  local facts = read_facts(id, digests, sender, account_of(sender), content_sid, now, cache)
  claimed[#claimed + 1] = {
    id,
    row[F.fence],
    payload,
    row[F.attempt] or '0',
    row[F.expires_at] or '0',
    row[F.on_unknown] or '',
    row[F.redecided] or '',
    row[F.crashes] or '0',
    row[F.cancel_asked] or '',
    row[F.enqueued_at] or '0',
    row[F.free_attempts] or row[F.uncounted] or '0',
    facts,
  }
  ids[#ids + 1] = id
  return facts
end

-- Returns a fence that is higher than every earlier one: microseconds of the server's own clock. A
-- counter would not do, because a replica that becomes primary would count the claims that it
-- missed once more while their holders may still be at work.
local function next_fence()
  local time = redis.call('TIME')
  local last = tonumber(redis.call('GET', K.fence) or '0')
  local number = math.max(last + 1, time[1] * 1000000 + time[2])
  redis.call('SET', K.fence, int(number))
  return int(number)
end

local function take(id, row)
  remove_from_place(id, row)
  if not fence then fence = next_fence() end
  row[F.fence] = fence
  local facts = hand_out(id, row)
  redis.call('HSET', K.row(id), F.stage, C.CLAIMED, F.fence, fence,
    F.claimed_revision, facts[2][1])
  redis.call('ZADD', K.leases, int(now + lead + lease), id)
end

-- Returns until when (ms) the sender or its account may not send; 0 when both may.
local function paused_until(sender)
  local latest = 0
  local account = account_of(sender)
  for _, key in ipairs({ K.sender(sender), account ~= '' and K.account(account) or nil }) do
    if not cache[key] then cache[key] = read_state(key, now) end
    latest = math.max(latest, tonumber(cache[key][3]) or 0)
  end
  return latest > now and latest or 0
end

local function to_timers(lane, due)
  redis.call('ZREM', K.ready, lane)
  redis.call('ZADD', K.timers, int(math.ceil(due)), lane)
end

local function set_lead(ms)
  lead = ms
  redis.call('HSET', K.meta, 'lead_ms', int(ms))
end

-- Turns never go back. After the store's clock was set back, they continue from the time of the
-- last claim.
local function keep_pace()
  local last = tonumber(redis.call('HGET', K.meta, 'clock_at') or '0')
  if now + lead < last - MIN_STEP_MS then set_lead(last - now) end
  redis.call('HSET', K.meta, 'clock_at', int(now + lead))
end

-- Whether a message that is not due was queued in the future. Then the store's clock was set back
-- since, at a time when no claim could notice it.
local function shows_step(id, due)
  local row = read_row(id)
  local queued = row and read_instant(row[F.enqueued_at])
  if not queued or queued <= now + lead then return false end
  if (tonumber(row[F.not_before] or '0') or 0) > queued then return false end
  set_lead(math.ceil(math.max(queued, due) - now))
  return true
end

-- Puts a lane where it belongs once its due messages were taken: in `ready`, on a timer, or
-- nowhere.
local function settle_lane(lane, vtime)
  local first = redis.call('ZRANGE', K.lane(lane), 0, 0, 'WITHSCORES')
  if not first[1] then
    redis.call('ZREM', K.ready, lane)
  elseif tonumber(first[2]) <= now + lead or shows_step(first[1], tonumber(first[2])) then
    if vtime then redis.call('ZADD', K.ready, string.format('%.17g', vtime), lane) end
  else
    to_timers(lane, tonumber(first[2]))
  end
end

-- Stages whose messages are in no lane. A message that is in one all the same is removed from it.
local ELSEWHERE = C.ELSEWHERE

-- Puts off a message in a stage, or with a number, that only a newer version knows. It keeps its
-- place for the workers of that version, and those behind it get their turn. It is counted, and
-- returned for the log, only the first time.
local function put_off(lane, id)
  put_into_lane(lane, id, now + RECHECK_MS, now)
  if redis.call('HSETNX', K.row(id), F.unknown_stage, '1') == 0 then return end
  count('unknown_stage')
  unreadable[#unreadable + 1] = id
end

local COUNTS = { F.attempt, F.crashes, F.free_attempts, F.uncounted }

-- Whether this version can read every number that a decision about the message rests on. An absurd
-- instant is a number as well.
local function is_readable(row)
  for _, name in ipairs(COUNTS) do
    if row[name] and not read_count(row[name]) then return false end
  end
  for _, name in ipairs({ F.expires_at, F.not_before }) do
    if row[name] and not read_expiry(row[name]) then return false end
  end
  if not row[F.lane] then return false end
  return not row[F.enqueued_at] or read_instant(row[F.enqueued_at]) ~= nil
end

-- Whether a message must not be sent yet, and has not expired.
local function starts_later(row)
  local not_before = tonumber(row[F.not_before] or '0') or 0
  return not_before > now and tonumber(row[F.expires_at] or '0') > now
end

-- Whether a message may be claimed.
local function is_open(row)
  return IN_A_LANE[row[F.stage]] and is_readable(row)
end

local function is_suspect(row)
  return tonumber(row[F.crashes] or '0') >= C.CRASHES_IN_COMPANY
end

local function set_apart(id, row)
  redis.call('ZREM', K.lane(row[F.lane]), id)
  redis.call('ZADD', K.suspects, 'NX', int(now), id)
  found_suspect = true
end

-- Returns ids of messages that are due in a lane, from a place on.
local function due_in(lane, from, most)
  local until_now = string.format('%.17g', now + lead)
  return redis.call('ZRANGEBYSCORE', K.lane(lane), '-inf', until_now, 'LIMIT', from, most)
end

-- Takes due messages from a lane. Returns how many.
local function serve(lane, room)
  local taken = 0
  for _, id in ipairs(due_in(lane, 0, room)) do
    local row = read_row(id)
    if not row or ELSEWHERE[row[F.stage]] then
      redis.call('ZREM', K.lane(lane), id)
    elseif not is_open(row) then
      put_off(lane, id)
    elseif starts_later(row) then
      -- It was queued before the clock was set back, or by a producer that does not know about
      -- that.
      put_into_lane(lane, id, tonumber(row[F.not_before]), now)
    elseif is_suspect(row) then
      set_apart(id, row)
    else
      take(id, row)
      taken = taken + 1
    end
  end
  return taken
end

-- Takes expired messages from a paused lane: nothing is sent from it, but messages that expire
-- still end. Each call continues where the last one ended, and the next call comes at once until
-- the whole lane was searched. Returns whether it was.
local function serve_expired(lane, room)
  local place = expiry_search_field(lane)
  local from = tonumber(redis.call('HGET', K.meta, place) or '0')
  local due = due_in(lane, from, MAX_SEEN_MESSAGES)
  local taken, gone = 0, 0
  for at, id in ipairs(due) do
    if taken == room then
      redis.call('HSET', K.meta, place, int(from + at - 1 - gone))
      return false
    end
    local row = read_row(id)
    if row and is_open(row) and tonumber(row[F.expires_at] or '0') <= now then
      gone = gone + 1
      if is_suspect(row) then
        set_apart(id, row)
      else
        take(id, row)
        taken = taken + 1
      end
    end
  end
  if #due == MAX_SEEN_MESSAGES then
    redis.call('HSET', K.meta, place, int(from + #due - gone))
    return false
  end
  redis.call('HDEL', K.meta, place)
  return true
end

local function wake_due_lanes()
  local due = { K.timers, '-inf', int(now + lead), 'LIMIT', 0, MAX_MOVED_LANES }
  for _, lane in ipairs(redis.call('ZRANGEBYSCORE', unpack(due))) do
    redis.call('ZREM', K.timers, lane)
    enter_ready(lane)
  end
end

local function pick()
  local moves = 0
  while #claimed < limit and moves < MAX_MOVED_LANES do
    moves = moves + 1
    local first = redis.call('ZRANGE', K.ready, 0, 0, 'WITHSCORES')
    if not first[1] then return end
    local lane, vtime = first[1], tonumber(first[2])
    local sender, priority = string.match(lane, '^(.-)|(.-)|')
    local paused = paused_until(sender)
    if paused > 0 then
      -- On a timer until the pause ends, so that waiting costs next to nothing.
      local is_through = serve_expired(lane, limit - #claimed)
      local again_ms = is_through and RECHECK_MS or CONTINUE_MS
      to_timers(lane, lead + math.min(paused, now + again_ms))
    else
      local taken = serve(lane, math.min(MAX_QUANTUM_MESSAGES, limit - #claimed))
      redis.call('HSET', K.meta, 'vtime', first[2])
      redis.call('HDEL', K.meta, expiry_search_field(lane))
      settle_lane(lane, vtime + taken / (WEIGHTS[priority] or 1))
    end
  end
end

-- Takes the suspect that has waited longest. A suspect that ended is dropped. One whose sender is
-- paused goes back to its lane, unless it expired.
local function pick_suspect()
  for _, id in ipairs(redis.call('ZRANGE', K.suspects, 0, MAX_SEEN_MESSAGES - 1)) do
    local row = read_row(id)
    if not row or not is_open(row) then
      redis.call('ZREM', K.suspects, id)
      if row and row[F.lane] and not ELSEWHERE[row[F.stage]] then put_off(row[F.lane], id) end
    elseif tonumber(row[F.expires_at] or '0') > now
      and paused_until(sender_of(row[F.lane])) > 0 then
      redis.call('ZREM', K.suspects, id)
      put_into_lane(row[F.lane], id, now, now)
    else
      return take(id, row)
    end
  end
end

-- Whether this worker should drain for a suspect. Only one worker at a time is called, until a
-- lease has passed.
local function is_called()
  if redis.call('ZCARD', K.suspects) == 0 then return 0 end
  local got = redis.call('HMGET', K.meta, 'called', 'called_until')
  local ends = tonumber(got[2] or '0')
  if ends > now and ends <= now + lease then return got[1] == claim.worker and 1 or 0 end
  redis.call('HSET', K.meta, 'called', claim.worker, 'called_until', int(now + lease))
  return 1
end

local function next_due()
  if redis.call('ZCARD', K.ready) > 0 then
    -- More is due than this worker asked for, so wake another claimer.
    wake_claimer()
    return int(now)
  end
  redis.call('DEL', K.wake)
  -- A drained worker may be waiting. Each suspect wakes one worker, and the worker that takes one
  -- of several wakes the next.
  local takes_suspects = found_suspect or claim.suspects ~= 'never'
  if takes_suspects and redis.call('ZCARD', K.suspects) > 0 then wake_claimer() end
  local first = redis.call('ZRANGE', K.timers, 0, 0, 'WITHSCORES')
  return first[2] and int(math.max(0, tonumber(first[2]) - lead)) or '-1'
end

-- The store was restored from a copy. What it holds may already be with Twilio, so we look there
-- before anything is claimed.
if redis.call('HEXISTS', K.meta, 'restoring') == 1 then return { int(now), '-1', {}, 0, {} } end
local before = redis.call('GET', K.last_claim(claim.worker))
local last = before and try_decode(before)
if last and last.request == claim.request then
  for _, id in ipairs(last.ids) do
    local row = read_row(id)
    local is_held = row and row[F.stage] == C.CLAIMED and row[F.fence] == last.fence
    if is_held and is_readable(row) then hand_out(id, row) end
  end
else
  keep_pace()
  wake_due_lanes()
  if claim.suspects == 'first' then pick_suspect() end
  if #claimed == 0 then pick() end
  if #claimed == 0 and claim.suspects ~= 'never' then pick_suspect() end
  if #ids > 0 then
    local made = cjson.encode({ request = claim.request, fence = fence, ids = ids })
    redis.call('SET', K.last_claim(claim.worker), made, 'PX', C.HOUR_MS)
  end
end
return { int(now), next_due(), claimed, is_called(), unreadable }
