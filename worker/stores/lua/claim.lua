-- Takes up to `limit` due messages from all ready lanes. The lane with the lowest virtual time
-- comes first, with at most QUANTUM messages at once.
-- A suspect (a message that two workers crashed on) leaves its lane for a separate list. A worker
-- claims each suspect alone.
-- Repeated with the same request id, it returns the same messages while their leases last.
-- ARGV: worker id, request id, limit, lease (ms), inner and outer block of the person key, suspects
-- ('never'; 'first'; 'last': only while nothing else is due).
-- Returns: now (ms); next due (ms, -1: none); for each message
--   id, fence, payload or false, n, expires, on_unknown, redecided, crashes, cancel asked,
--     enqueued, free attempts, facts;
-- 1 when a suspect is due and this worker should drain for it, else 0; and the ids of messages that
-- were found for the first time in a stage, or with a number, that only a newer version knows.
-- Keys: meta, row, job, lane, ready, timers, suspects, leases, waiting, fence, last_claim, wake,
-- counts; for the facts sender, account, template, contents, tag_state, person, sent_to; and, when
-- a person's digests are gathered, consents and suspected_stops.
-- Callers: `LedgerStore.claim`, for the claimer of each worker.
local QUANTUM = 8
local MOVES = 256
local RECHECK = 60000
local LOOKED_AT = 256
local GO_ON = 50
-- A smaller step back of the clock is ignored, because no message waits longer than that.
local STEP = 1000
local WEIGHTS = { urgent = 16, normal = 4, bulk = 1 }
local worker, request, limit, lease = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local inner, outer, suspects = ARGV[5], ARGV[6], ARGV[7]
local now = clock()
local cache, accounts = {}, {}
local claimed, ids = {}, {}
local fence
local found_suspect = false
local strange = {}

local function account_of(sender)
  if not accounts[sender] then accounts[sender] = redis.call('HGET', K.sender(sender), 'a') or '' end
  return accounts[sender]
end

local WANTED = { 's', 'n', 'e', 'u', 'rd', 'k', 'x', 'q', 'f', 'w', 'l', '@0', 'fa', 'nb' }

local function fetch(id)
  local got = redis.call('HMGET', K.row(id), unpack(WANTED))
  if not got[1] then return nil end
  local row = {}
  for index, name in ipairs(WANTED) do row[name] = got[index] or nil end
  return row
end

local function hand_out(id, row)
  local payload = redis.call('GET', K.job(id))
  local message = message_of(payload)
  local known = message and type(message.to) == 'string'
  local names = known and gather(persons_of(message.to, inner, outer)) or ''
  local sender = sender_of(row.l)
  local facts = facts_of(id, names, sender, account_of(sender), content_of(message), now, cache)
  claimed[#claimed + 1] = {
    id, row.f, payload, row.n or '0', row.e or '0', row.u or '', row.rd or '', row.k or '0', row.x or '', row.q or '0',
    row['@0'] or row.fa or '0', facts,
  }
  ids[#ids + 1] = id
  return facts
end

-- Returns a fence that is higher than every earlier one: microseconds of the server's own clock. A
-- counter would not do, because a replica that becomes primary would count the claims that it
-- missed once more while their holders may still be at work.
local function next_fence()
  local time = redis.call('TIME')
  local number = math.max(tonumber(redis.call('GET', K.fence) or '0') + 1, time[1] * 1000000 + time[2])
  redis.call('SET', K.fence, int(number))
  return int(number)
end

local function take(id, row)
  leave(id, row)
  if not fence then fence = next_fence() end
  row.f = fence
  local facts = hand_out(id, row)
  redis.call('HSET', K.row(id), 's', 'claimed', 'f', fence, 'pr', facts[2][1])
  redis.call('ZADD', K.leases, int(now + lead + lease), id)
end

-- Returns until when (ms) the sender or its account may not send; 0 when both may.
local function paused_until(sender)
  local latest = 0
  local account = account_of(sender)
  for _, key in ipairs({ K.sender(sender), account ~= '' and K.account(account) or nil }) do
    if not cache[key] then cache[key] = stored(key, now) end
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
  if now + lead < last - STEP then set_lead(last - now) end
  redis.call('HSET', K.meta, 'clock_at', int(now + lead))
end

-- Whether a message that is not due was queued in the future. Then the store's clock was set back
-- since, at a time when no claim could notice it.
local function shows_step(id, due)
  local row = fetch(id)
  local queued = row and instant(row.q)
  if not queued or queued <= now + lead or (tonumber(row.nb or '0') or 0) > queued then return false end
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

local OPEN = { queued = true, waiting = true, retrying = true }

-- Stages whose messages are in no lane. A message that is in one all the same is removed from it.
local ELSEWHERE = {
  claimed = true, posting = true, unknown = true, unresolved = true, accepted = true, refused = true, failed = true,
  expired = true, cancelled = true, dead = true,
}

-- Puts off a message in a stage, or with a number, that only a newer version knows. It keeps its
-- place for the workers of that version, and those behind it get their turn. It is counted, and
-- returned for the log, only the first time.
local function put_off(lane, id)
  to_lane(lane, id, now + RECHECK, now)
  if redis.call('HSETNX', K.row(id), 'us', '1') == 0 then return end
  count('unknown_stage')
  strange[#strange + 1] = id
end

local TIMES = { 'n', 'k', '@0', 'fa' }

-- Whether this version can read every number that a decision about the message rests on. An absurd
-- instant is a number as well.
local function is_readable(row)
  for _, name in ipairs(TIMES) do
    if row[name] and not times(row[name]) then return false end
  end
  for _, name in ipairs({ 'e', 'nb' }) do
    if row[name] and not expiry(row[name]) then return false end
  end
  return row.l and (not row.q or instant(row.q)) and true or false
end

-- Whether a message may be claimed.
local function is_open(row)
  return OPEN[row.s] and is_readable(row)
end

local function is_suspect(row)
  return tonumber(row.k or '0') >= CRASHES_IN_COMPANY
end

local function set_apart(id, row)
  redis.call('ZREM', K.lane(row.l), id)
  redis.call('ZADD', K.suspects, 'NX', int(now), id)
  found_suspect = true
end

-- Takes due messages from a lane. Returns how many.
local function serve(lane, room)
  local taken = 0
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', K.lane(lane), '-inf', string.format('%.17g', now + lead), 'LIMIT', 0, room)) do
    local row = fetch(id)
    if not row or ELSEWHERE[row.s] then
      redis.call('ZREM', K.lane(lane), id)
    elseif not is_open(row) then
      put_off(lane, id)
    elseif (tonumber(row.nb or '0') or 0) > now and tonumber(row.e or '0') > now then
      -- It was queued before the clock was set back, or by a producer that does not know about
      -- that.
      to_lane(lane, id, tonumber(row.nb), now)
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
  local place = look_at(lane)
  local from = tonumber(redis.call('HGET', K.meta, place) or '0')
  local ids = redis.call('ZRANGEBYSCORE', K.lane(lane), '-inf', string.format('%.17g', now + lead), 'LIMIT', from, LOOKED_AT)
  local taken, gone = 0, 0
  for at, id in ipairs(ids) do
    if taken == room then
      redis.call('HSET', K.meta, place, int(from + at - 1 - gone))
      return false
    end
    local row = fetch(id)
    if row and is_open(row) and tonumber(row.e or '0') <= now then
      gone = gone + 1
      if is_suspect(row) then
        set_apart(id, row)
      else
        take(id, row)
        taken = taken + 1
      end
    end
  end
  if #ids == LOOKED_AT then
    redis.call('HSET', K.meta, place, int(from + #ids - gone))
    return false
  end
  redis.call('HDEL', K.meta, place)
  return true
end

local function wake_due_lanes()
  for _, lane in ipairs(redis.call('ZRANGEBYSCORE', K.timers, '-inf', int(now + lead), 'LIMIT', 0, MOVES)) do
    redis.call('ZREM', K.timers, lane)
    enter_ready(lane)
  end
end

local function pick()
  local moves = 0
  while #claimed < limit and moves < MOVES do
    moves = moves + 1
    local first = redis.call('ZRANGE', K.ready, 0, 0, 'WITHSCORES')
    if not first[1] then return end
    local lane, vtime = first[1], tonumber(first[2])
    local sender, priority = string.match(lane, '^(.-)|(.-)|')
    local paused = paused_until(sender)
    if paused > 0 then
      -- On a timer until the pause ends, so that waiting costs next to nothing.
      local is_through = serve_expired(lane, limit - #claimed)
      to_timers(lane, lead + math.min(paused, now + (is_through and RECHECK or GO_ON)))
    else
      local taken = serve(lane, math.min(QUANTUM, limit - #claimed))
      redis.call('HSET', K.meta, 'vtime', first[2])
      redis.call('HDEL', K.meta, look_at(lane))
      settle_lane(lane, vtime + taken / (WEIGHTS[priority] or 1))
    end
  end
end

-- Takes the suspect that has waited longest. A suspect that ended is dropped. One whose sender is
-- paused goes back to its lane, unless it expired.
local function pick_suspect()
  for _, id in ipairs(redis.call('ZRANGE', K.suspects, 0, LOOKED_AT - 1)) do
    local row = fetch(id)
    if not row or not is_open(row) then
      redis.call('ZREM', K.suspects, id)
      if row and row.l and not ELSEWHERE[row.s] then put_off(row.l, id) end
    elseif paused_until(sender_of(row.l)) > 0 and tonumber(row.e or '0') > now then
      redis.call('ZREM', K.suspects, id)
      to_lane(row.l, id, now, now)
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
  if ends > now and ends <= now + lease then return got[1] == worker and 1 or 0 end
  redis.call('HSET', K.meta, 'called', worker, 'called_until', int(now + lease))
  return 1
end

local function next_due()
  if redis.call('ZCARD', K.ready) > 0 then
    -- More is due than this worker asked for, so wake another claimer.
    wake()
    return int(now)
  end
  redis.call('DEL', K.wake)
  -- A drained worker may be waiting. Each suspect wakes one worker, and the worker that takes one
  -- of several wakes the next.
  if (found_suspect or suspects ~= 'never') and redis.call('ZCARD', K.suspects) > 0 then wake() end
  local first = redis.call('ZRANGE', K.timers, 0, 0, 'WITHSCORES')
  return first[2] and int(math.max(0, tonumber(first[2]) - lead)) or '-1'
end

-- The store was restored from a copy. What it holds may already be with Twilio, so we look there
-- before anything is claimed.
if redis.call('HEXISTS', K.meta, 'restoring') == 1 then return { int(now), '-1', {}, 0, {} } end
local before = redis.call('GET', K.last_claim(worker))
local last = before and decoded(before)
if last and last.request == request then
  for _, id in ipairs(last.ids) do
    local row = fetch(id)
    if row and row.s == 'claimed' and row.f == last.fence and is_readable(row) then hand_out(id, row) end
  end
else
  keep_pace()
  wake_due_lanes()
  if suspects == 'first' then pick_suspect() end
  if #claimed == 0 then pick() end
  if #claimed == 0 and suspects ~= 'never' then pick_suspect() end
  if #ids > 0 then
    redis.call('SET', K.last_claim(worker), cjson.encode({ request = request, fence = fence, ids = ids }), 'PX', HOUR)
  end
end
return { int(now), next_due(), claimed, is_called(), strange }
