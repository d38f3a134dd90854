-- Takes up to `limit` due messages. Classes, accounts, senders and lanes have turns
-- (`lane_rings.lua`), and in a turn a lane gives at most MAX_QUANTUM_MESSAGES messages.
-- A suspect (a message that two workers crashed on) leaves its lane for a separate list. A worker
-- claims each suspect alone.
-- Repeated with the same request id, it returns the same messages while their leases last.
-- ARGV: a JSON object, inner and outer block of the person key. The object: worker (its id),
-- request (its id), limit, lease (ms), suspects ('never'; 'first'; 'last': only while nothing else
-- is due), woken (whether another process woke it); and, unless it takes whatever is due, room
-- (`claim_room.lua`).
-- Returns: now (ms); next due (ms, -1: none); for each message
--   id, fence, payload or false, n, expires, crashes, cancel asked, enqueued, free attempts,
--     facts, account, sender, 1 when urgent else 0;
-- 1 when a suspect is due and this worker should drain for it, else 0; the ids of messages that
-- were found for the first time in a stage, or with a number, that only a newer version knows; and
-- 1 when there is due work that it has no room for, else 0.
-- Keys: meta, row, job, lane, queued, ready, marks, timers, ring, rested, parked, unlisted, listed,
-- expiring, expiries, suspects, leases, waiting, fence, last_claim, wake, counts; for the facts
-- sender, account, template, contents, tag_state, person, sent_to; when a rate is limited
-- sender_rate, account_rate and open_posts; and, when a person's digests are gathered, consents and
-- suspected_stops.
-- Callers: `LedgerStore.claim`, for the claimer of each worker.

-- include: breaker, campaign_of, claim_room, clock, content_sid_of, count, count_queued, enter_lane
-- include: gather, hand_wake_on, in_a_lane, int, lane_rings, leave_ring, leave_sender, list_expiry
-- include: mark_of_cancel, message_of, parts_of_lane, persons_of, places_left, planned_rates
-- include: put_into_lane, rate_times, read_count, read_expiry, read_facts, read_instant, read_state
-- include: remove_from_lane, remove_from_place, rest, sender_of, set_aside, take_turn, try_decode
-- include: turn_rings, unpark, wake_claimer

-- How many messages a lane gives in one turn.
local MAX_QUANTUM_MESSAGES = 8
-- How many turns one call gives.
local MAX_TURNS = 256
-- How many senders and accounts one call parks. To park one costs as much as some turns.
local MAX_PARKED = 64
-- How many marked lanes one call moves into the rings, and how many more that are not urgent.
local MAX_MARKED_LANES = 128
local MAX_OTHER_LANES = 16
-- How many messages of a list one turn looks at, and how many one call.
local MAX_SEEN_MESSAGES = 64
local MAX_SEEN_IN_ALL_MESSAGES = 512
-- How many messages one call lists by their expiry.
local MAX_LISTED_MESSAGES = 64
-- When a message that only a newer version can read is looked at again.
local RECHECK_MS = 60000
-- A smaller step back of the clock is ignored, because no message waits longer than that.
local MIN_STEP_MS = 1000
local claim, inner, outer = cjson.decode(ARGV[1]), ARGV[2], ARGV[3]
local limit, lease = claim.limit, claim.lease
local now = clock()
local cache = {}
local claimed, ids, removed = {}, {}, {}
local fence
local found_suspect = false
local unreadable, marked, left = {}, {}, {}
local listed_count
local are_more_ready = false
local seen_expired = 0

-- Returns what the hash of a sender or an account says.
local function state_of(key)
  if not cache[key] then cache[key] = read_state(key, now) end
  return cache[key]
end

local function account_of(sender)
  return state_of(K.sender(sender)).account or ''
end

local FIELDS = {
  F.stage, F.attempt, F.expires_at, F.crashes, F.cancel_asked,
  F.enqueued_at, F.fence, F.awaited, F.lane, F.free_attempts, F.uncounted, F.not_before,
}

-- Returns what a claim looks at of a row, nil when there is none.
local function read_row(id)
  local got = redis.call('HMGET', K.row(id), unpack(FIELDS))
  if not got[1] then return nil end
  local row = {}
  for index, name in ipairs(FIELDS) do row[name] = got[index] or nil end
  row[F.cancel_asked] = mark_of_cancel(row[F.cancel_asked], row[F.lane], row[F.enqueued_at])
  return row
end

local function hand_out(id, row)
  local payload = redis.call('GET', K.job(id))
  local message = message_of(payload)
  local has_address = message and type(message.to) == 'string'
  local digests = has_address and gather(persons_of(message.to, inner, outer)) or ''
  local sender = sender_of(row[F.lane])
  local content_sid = content_sid_of(message)
  local _, class = parts_of_lane(row[F.lane])
  local facts = read_facts(id, digests, sender, account_of(sender), content_sid, now, cache)
  claimed[#claimed + 1] = {
    id,
    row[F.fence],
    payload,
    row[F.attempt] or '0',
    row[F.expires_at] or '0',
    row[F.crashes] or '0',
    row[F.cancel_asked] or '',
    row[F.enqueued_at] or '0',
    row[F.free_attempts] or row[F.uncounted] or '0',
    facts,
    account_of(sender),
    sender,
    class == C.URGENT and 1 or 0,
  }
  ids[#ids + 1] = id
  count_held(claim.room, 'accounts', account_of(sender))
  count_held(claim.room, 'senders', sender)
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

local put_off

-- Claims a message. Returns false for one that cannot be read in full, such as one whose job is of
-- another kind: it is put off, and stops no other.
local function take(id, row)
  if not fence then fence = next_fence() end
  row[F.fence] = fence
  local is_whole, facts = pcall(hand_out, id, row)
  if not is_whole then
    redis.call('ZREM', K.suspects, id)
    put_off(row[F.lane], id)
    return false
  end
  remove_from_place(id, row, removed)
  redis.call('HSET', K.row(id), F.stage, C.CLAIMED, F.fence, fence,
    F.claimed_revision, facts[2][1])
  redis.call('ZADD', K.leases, int(now + lead + lease), id)
  return true
end

-- Returns until when (ms) a sender or an account is paused, nil when it is not.
local function pause_end(key)
  local state = state_of(key)
  local ends = math.max(tonumber(state[3]) or 0, breaker.ends(state, now))
  return ends > now and ends or nil
end

-- Returns what may be claimed of a sender or an account by its rate, nil when that is not limited.
local function rate_plan(kind, name)
  local key = kind == 'account' and K.account(name) or K.sender(name)
  return plan_of(kind, name, state_of(key).pace, now)
end

-- Returns the plans of a sender and of its account, where their rates are limited.
local function plans_of(account, sender)
  local found = { rate_plan('sender', sender) }
  found[#found + 1] = account ~= '' and rate_plan('account', account) or nil
  return found
end

-- Returns until when (ms) a sender or an account gives no messages, nil when it gives some. It is
-- paused, its rate is used up, or it has no place for another POST.
local function blocked_until(kind, name)
  if kind == 'campaign' then return pause_end(K.campaign(name)) end
  local key = kind == 'account' and K.account(name) or K.sender(name)
  local ends, state = pause_end(key), state_of(key)
  if ends then return ends end
  if kind == 'account' then
    state.left = state.left or places_left(name, state.posts, now)
    if state.left and state.left <= 0 then return now + C.BUSY_AGAIN_MS end
  end
  local plan = rate_plan(kind, name)
  if not plan then return nil end
  local room, free_at = room_in(plan)
  return room == 0 and free_at or nil
end

local function is_paused(lane)
  local sender = sender_of(lane)
  local account = account_of(sender)
  return pause_end(K.sender(sender)) or account ~= '' and pause_end(K.account(account))
    or is_parked('campaign', campaign_of(lane))
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

-- Whether a lane has more due messages. A lane that has none waits on a timer, or vanishes.
local function is_still_due(lane)
  local first = redis.call('ZRANGE', K.lane(lane), 0, 0, 'WITHSCORES')
  if not first[1] then
    if listed_count == nil then listed_count = redis.call('HLEN', K.listed) end
    if listed_count > 0 then redis.call('HDEL', K.listed, lane) end
    return false
  end
  local due = tonumber(first[2])
  if due <= now + lead or shows_step(first[1], due) then return true end
  redis.call('ZADD', K.timers, int(math.ceil(due)), lane)
  return false
end

-- Stages whose messages are in no lane. A message that is in one all the same is removed from it.
local ELSEWHERE = C.ELSEWHERE

-- Puts off a message in a stage, or with a number, that only a newer version knows. It keeps its
-- place for the workers of that version, and those behind it get their turn. It is counted, and
-- returned for the log, only the first time.
function put_off(lane, id)
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
  remove_from_lane(row[F.lane], id)
  redis.call('ZADD', K.suspects, 'NX', int(now), id)
  found_suspect = true
end

-- Returns a number as a text from which Redis reads the same number.
local function exact(number)
  return string.format('%.17g', number)
end

-- Takes due messages from a lane. Returns how many, and how many of them have not expired.
local function serve(lane, room)
  local taken, live = 0, 0
  local due = { K.lane(lane), '-inf', exact(now + lead), 'LIMIT', 0, room }
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', unpack(due))) do
    local row = read_row(id)
    if not row or ELSEWHERE[row[F.stage]] then
      remove_from_lane(lane, id)
    elseif not is_open(row) then
      put_off(lane, id)
    elseif starts_later(row) then
      -- It was queued before the clock was set back, or by a producer that does not know about
      -- that.
      put_into_lane(lane, id, tonumber(row[F.not_before]), now)
    elseif is_suspect(row) then
      set_apart(id, row)
    elseif take(id, row) then
      taken = taken + 1
      if (tonumber(row[F.expires_at] or '0') or 0) > now then live = live + 1 end
    end
  end
  return taken, live
end

-- Takes messages whose minute of expiry is over and that are still in a lane, parked or not, so
-- that their end is recorded. Returns how many it took, and whether there are more.
-- A list also names messages that ended meanwhile, so a turn that takes few may look at many.
local function serve_expired(room)
  local taken = 0
  for _ = 1, MAX_SEEN_MESSAGES do
    if taken == room then return taken, true end
    seen_expired = seen_expired + 1
    local over = { K.expiries, '-inf', int(now), 'LIMIT', 0, 1 }
    local minute = redis.call('ZRANGEBYSCORE', unpack(over))[1]
    if not minute then return taken, false end
    local id = redis.call('LPOP', K.expiring(minute))
    local row = id and read_row(id)
    if not id then
      redis.call('ZREM', K.expiries, minute)
    elseif row and is_open(row) and (read_expiry(row[F.expires_at]) or now + 1) <= now then
      if is_suspect(row) then
        set_apart(id, row)
      elseif take(id, row) then
        taken = taken + 1
      end
    end
  end
  return taken, true
end

-- Returns the lowest score of a set, nil when it is empty.
local function lowest(key)
  return tonumber(redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2] or '')
end

-- Moves a lane that fell due into the rings.
local function enter_marked(lane)
  enter_lane(lane)
  marked[#marked + 1] = lane
end

local function enter_ready_lanes()
  local found = redis.call('ZPOPMIN', K.ready, MAX_MARKED_LANES)
  are_more_ready = #found / 2 == MAX_MARKED_LANES
  if found[1] and not are_more_ready then redis.call('DEL', K.marks) end
  for at = 1, #found, 2 do
    local lane = found[at]
    if are_more_ready then redis.call('HINCRBY', K.marks, (parts_of_lane(lane)), -1) end
    enter_marked(lane)
  end
  if not are_more_ready then return end
  -- However many urgent lanes there are, some others have their turns too.
  local others = { K.ready, '0', '+inf', 'LIMIT', 0, MAX_OTHER_LANES }
  for _, lane in ipairs(redis.call('ZRANGEBYSCORE', unpack(others))) do
    redis.call('ZREM', K.ready, lane)
    redis.call('HINCRBY', K.marks, (parts_of_lane(lane)), -1)
    enter_marked(lane)
  end
end

-- Puts back what is parked no longer. Another cause may keep it parked: a pause may have been
-- prolonged or begun, or other claims have used up the rate.
local function unpark_due()
  are_parked = redis.call('EXISTS', K.parked) == 1
  if not are_parked then return end
  local due = { K.parked, '-inf', int(now), 'LIMIT', 0, MAX_MARKED_LANES }
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', unpack(due))) do
    local kind, name = string.match(member, '^(.-)|(.*)$')
    local ends = blocked_until(kind, name)
    if ends then
      redis.call('ZADD', K.parked, int(math.ceil(ends)), member)
    else
      unpark(kind, name)
    end
  end
end

-- Moves what fell due since the last claim into the rings.
local function enter_due()
  enter_ready_lanes()
  local due = { K.timers, '-inf', int(now + lead), 'LIMIT', 0, MAX_MARKED_LANES }
  for _, lane in ipairs(redis.call('ZRANGEBYSCORE', unpack(due))) do
    redis.call('ZREM', K.timers, lane)
    enter_marked(lane)
  end
  unpark_due()
  local expiry = lowest(K.expiries)
  if expiry and expiry <= now then enter_ring(C.CLASSES_RING, C.EXPIRED_CLASS) end
end

-- Keeps the other messages of an account back until the outcome of this one is recorded.
function breaker.begin(account, id)
  local key, ends = K.account(account), now + C.PROBE_MS
  redis.call('HSET', key, F.breaker_probe, id, F.breaker_ends_at, int(ends))
  cache[key].breaker_ends_at = ends
  park_later('account', account, ends)
end

-- Whether one message of an account may try, because its breaker is half open.
function breaker.may_try(account)
  if account == '' or pause_end(K.account(account)) then return false end
  return breaker.is_half_open(cache[K.account(account)], now)
end

-- Claims the one message of an account that tries. Returns nil when none is fit.
function breaker.take(account)
  local function may_send(sender) return not blocked_until('sender', sender) end
  local function read(id)
    local row = read_row(id)
    local is_fit = row and is_open(row) and not starts_later(row) and not is_suspect(row)
    return is_fit and tonumber(row[F.expires_at] or '0') > now and row or nil
  end
  local id, row = breaker.find_probe(account, exact(now + lead), may_send, read)
  return id and take(id, row) and id or nil
end

-- Returns the path to the lane whose turn it is in a class: at each level a ring, the member whose
-- turn it is, and its score. Each is taken out of its ring. There is no path when the sender or the
-- account gives no messages now: it is parked at the end of the call.
local function path_to_lane(class, class_score)
  local account, account_score = take_with_room(claim.room, 'accounts', class)
  if not account then
    if has_aside[class] then set_aside(C.CLASSES_RING, class, class_score) end
    return
  end
  local account_ends = account ~= '' and blocked_until('account', account)
  local probe = not account_ends and breaker.may_try(account) and breaker.take(account)
  if probe then
    return_turn(C.CLASSES_RING, class, class_score)
    return_turn(class, account, account_score)
    breaker.begin(account, probe)
    return
  end
  local senders = senders_of(class, account)
  local sender, sender_score = take_with_room(claim.room, 'senders', senders)
  local sender_ends = sender and blocked_until('sender', sender)
  local is_moved = sender and account_of(sender) ~= account
  if sender and not account_ends and not sender_ends and not is_moved then
    local lanes = lanes_of(class, sender)
    local lane, lane_score = take_turn(lanes)
    local path = {
      { C.CLASSES_RING, class, class_score }, { class, account, account_score },
      { senders, sender, sender_score }, { lanes, lane, lane_score },
    }
    local may_send = not (lane and are_parked and is_parked('campaign', campaign_of(lane)))
    if may_send then return path end
    for level = 1, #path do return_turn(unpack(path[level])) end
    if leave_ring(lanes, lane) then leave_sender(class, account, sender) end
    return
  end
  return_turn(C.CLASSES_RING, class, class_score)
  if account_ends then
    if sender then return_turn(senders, sender, sender_score) end
    set_aside_to_park(class, 'account', account, account_score, math.ceil(account_ends))
    return
  end
  if not sender and has_aside[senders] then
    set_aside(class, account, account_score)
    return
  end
  return_turn(class, account, account_score)
  if not sender then
    leave_account(class, account)
  elseif is_moved then
    -- It was queued before its sender was registered.
    return_turn(senders, sender, sender_score)
    leave_sender(class, account, sender)
    enter_sender(class, sender)
  else
    set_aside_to_park(senders, 'sender', sender, sender_score, math.ceil(sender_ends))
  end
end

-- Charges everybody on a path for a turn, from the lane up. A member that has no more work stays
-- out of its ring, and a ring that is empty then takes its owner out of the ring above.
local function charge_path(path, taken, class, has_more)
  -- More than a quantum was taken only while no other lane had work.
  local before = math.max(0, math.ceil(taken / MAX_QUANTUM_MESSAGES) - 1) * MAX_QUANTUM_MESSAGES
  for level = #path, 1, -1 do
    local ring, member, score = unpack(path[level])
    if not has_more and is_empty(ring) then
      forget_ring(ring)
    else
      local cost = level == 1 and TURN_COSTS[class] or 1
      charge_turn(ring, member, score, taken * cost, before * cost, has_more)
      has_more = true
    end
  end
end

-- Whether no other lane has work, so that no turn has to be shared.
local function is_alone(path)
  if are_more_ready then return false end
  local names = {}
  for level, step in ipairs(path) do names[level] = K.ring(step[1]) end
  return redis.call('EXISTS', unpack(names)) == 0
end

-- Writes what was planned.
local function write_plans()
  for _, plan in ipairs(plans) do
    if plan.is_changed then write_rate(plan.key, plan.arrival, plan.planned, plan.us) end
  end
end

-- Returns how many messages of a sender may be taken in one turn: as many as there is room for in
-- this worker, as the limits of the sender and of its account let through, and as POSTs may begin.
local function room_on(class, account, sender)
  local room = math.min(
    room_for_class(claim.room, class, limit - #claimed, #claimed),
    room_for(claim.room, 'accounts', account),
    room_for(claim.room, 'senders', sender),
    account ~= '' and state_of(K.account(account)).left or math.huge
  )
  for _, plan in ipairs(plans_of(account, sender)) do room = math.min(room, (room_in(plan))) end
  return room
end

-- Counts the messages of a sender that will be admitted, so that the next turn takes fewer.
local function plan_posts(account, sender, live)
  for _, plan in ipairs(plans_of(account, sender)) do
    plan.planned = math.max(plan.planned, plan.us) + live * plan.interval
    plan.is_changed = plan.is_changed or live > 0
  end
  local state = account ~= '' and state_of(K.account(account)) or {}
  if state.left then state.left = state.left - live end
end

-- Gives the lane whose turn it is in a class its turn.
local function serve_class(class, score)
  local path = path_to_lane(class, score)
  if not path then return end
  local account, sender, lane = path[2][2], path[3][2], path[4][2]
  local room = room_on(class, account, sender)
  local is_probing = breaker.may_try(account)
  if is_probing then room = math.min(room, 1) end
  if room > MAX_QUANTUM_MESSAGES and not is_alone(path) then room = MAX_QUANTUM_MESSAGES end
  local taken, live = 0, 0
  if lane then taken, live = serve(lane, room) end
  plan_posts(account, sender, live)
  local has_more = lane and is_still_due(lane)
  if lane and not has_more then left[lane] = true end
  charge_path(path, taken, class, has_more)
  if is_probing and taken > 0 then breaker.begin(account, ids[#ids]) end
end

-- Gives expired messages their turn. To look through a list costs as much as to take from it.
local function serve_expired_class(score)
  local taken, has_more = serve_expired(math.min(MAX_QUANTUM_MESSAGES, limit - #claimed))
  local cost = has_more and MAX_QUANTUM_MESSAGES or taken
  charge_path({ { C.CLASSES_RING, C.EXPIRED_CLASS, score } }, cost, C.EXPIRED_CLASS, has_more)
end

local function pick()
  local passed_over
  for _ = 1, MAX_TURNS do
    if #claimed >= limit or number_to_park() >= MAX_PARKED then break end
    local class, score = take_turn(C.CLASSES_RING)
    if not class then break end
    if room_for_class(claim.room, class, limit - #claimed, #claimed) <= 0 then
      pass_over(C.CLASSES_RING, class, score)
    elseif class ~= C.EXPIRED_CLASS then
      serve_class(class, score)
    elseif seen_expired < MAX_SEEN_IN_ALL_MESSAGES then
      serve_expired_class(score)
    else
      passed_over = score
    end
  end
  if passed_over then return_turn(C.CLASSES_RING, C.EXPIRED_CLASS, passed_over) end
end

-- Returns from which due time, and behind how many that are due then, a lane is not listed yet.
-- When the message that was listed last has left, so have those in front of it.
local function listed_up_to(lane)
  local place = redis.call('HGET', K.listed, lane) or '-inf'
  local from, last_id = string.match(place, '^(%S+) ?(.*)$')
  local rank = last_id ~= '' and redis.call('ZSCORE', K.lane(lane), last_id) == from
    and redis.call('ZRANK', K.lane(lane), last_id)
  if not rank then return from, 0 end
  return from, rank + 1 - redis.call('ZCOUNT', K.lane(lane), '-inf', '(' .. from)
end

-- Has a lane looked at again when its next message falls due. A lane that is parked has no turn in
-- which that would be seen.
local function mark_next(lane)
  local behind = { K.lane(lane), '(' .. exact(now + lead), '+inf', 'WITHSCORES', 'LIMIT', 0, 1 }
  local found = redis.call('ZRANGEBYSCORE', unpack(behind))
  if found[2] then redis.call('ZADD', K.timers, int(math.ceil(tonumber(found[2]))), lane) end
end

-- Lists some messages of a lane by their expiry, from where it ended last. Returns how many, and
-- whether the lane may have more.
local function list_some(lane, room)
  local from, skip = listed_up_to(lane)
  local found = redis.call('ZRANGEBYSCORE', K.lane(lane), from, exact(now + lead), 'WITHSCORES',
    'LIMIT', skip, room)
  for at = 1, #found, 2 do
    local expires = read_expiry(redis.call('HGET', K.row(found[at]), F.expires_at))
    if expires then list_expiry(found[at], expires, now) end
  end
  local are_more = #found / 2 == room
  if are_more then
    -- Others may be due at the same instant as the last one.
    redis.call('HSET', K.listed, lane, found[#found] .. ' ' .. found[#found - 1])
  elseif #found > 0 then
    redis.call('HSET', K.listed, lane, '(' .. found[#found])
  end
  if not are_more then mark_next(lane) end
  return #found / 2, are_more
end

-- Lists what this call leaves queued by its expiry, in steps. What is claimed at once needs no
-- place in the list. Returns whether there is more to list.
local function list_expiries()
  for _, lane in ipairs(marked) do
    if not left[lane] then redis.call('ZADD', K.unlisted, 'NX', int(now), lane) end
  end
  local room = MAX_LISTED_MESSAGES
  while room > 0 do
    local lane = redis.call('ZRANGE', K.unlisted, 0, 0)[1]
    if not lane then return false end
    local listed, are_more = list_some(lane, room)
    room = room - math.max(1, listed)
    if not are_more then redis.call('ZREM', K.unlisted, lane) end
  end
  return true
end

-- Takes the suspect that has waited longest. A suspect that ended is dropped. One whose sender or
-- campaign is paused goes back to its lane, unless it expired.
local function pick_suspect()
  for _, id in ipairs(redis.call('ZRANGE', K.suspects, 0, MAX_SEEN_MESSAGES - 1)) do
    local row = read_row(id)
    if not row or not is_open(row) then
      redis.call('ZREM', K.suspects, id)
      if row and row[F.lane] and not ELSEWHERE[row[F.stage]] then put_off(row[F.lane], id) end
    elseif tonumber(row[F.expires_at] or '0') > now and is_paused(row[F.lane]) then
      redis.call('ZREM', K.suspects, id)
      put_into_lane(row[F.lane], id, now, now)
      list_expiry(id, tonumber(row[F.expires_at]), now)
    else
      local account = account_of(sender_of(row[F.lane]))
      local is_taken = take(id, row)
      if is_taken and breaker.may_try(account) then breaker.begin(account, id) end
      return is_taken
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

-- Whether the next claim would find work at once. What is set aside does not count: it goes when
-- something that this worker holds ends.
local function is_more_due()
  return redis.call('EXISTS', K.ring(C.CLASSES_RING), K.ready) > 0
end

-- Returns when the next claim would find something to do, -1 when that is not known.
-- `is_more`: whether it would at once. `are_unlisted`: whether there is more to list.
local function next_due(is_more, are_unlisted)
  if is_more then
    -- More is due than this worker asked for, so wake another claimer.
    wake_claimer()
    return int(now)
  end
  if has_passed_over() then
    -- Another worker may have room for it.
    if claim.woken then hand_wake_on() end
  else
    redis.call('DEL', K.wake)
  end
  -- A drained worker may be waiting. Each suspect wakes one worker, and the worker that takes one
  -- of several wakes the next.
  local takes_suspects = found_suspect or claim.suspects ~= 'never'
  if takes_suspects and redis.call('ZCARD', K.suspects) > 0 then wake_claimer() end
  if are_unlisted then return int(now) end
  local due = math.min(
    (lowest(K.timers) or math.huge) - lead,
    are_parked and lowest(K.parked) or math.huge,
    lowest(K.expiries) or math.huge
  )
  return due < math.huge and int(math.max(0, due)) or '-1'
end

-- Hands out what the last claim of this worker took, as far as it still holds that.
local function repeat_claim(last)
  for _, id in ipairs(last.ids) do
    local row = read_row(id)
    local is_held = row and row[F.stage] == C.CLAIMED and row[F.fence] == last.fence
    if is_held and is_readable(row) then hand_out(id, row) end
  end
end

-- The store was restored from a copy. What it holds may already be with Twilio, so we look there
-- before anything is claimed.
if redis.call('HEXISTS', K.meta, 'restoring') == 1 then return { int(now), '-1', {}, 0, {}, 0 } end
local is_more, are_unlisted
local before = redis.call('GET', K.last_claim(claim.worker))
local last = before and try_decode(before)
if last and last.request == claim.request then
  repeat_claim(last)
else
  keep_pace()
  enter_due()
  if claim.suspects == 'first' then pick_suspect() end
  if #claimed == 0 then pick() end
  if #claimed == 0 and claim.suspects ~= 'never' then pick_suspect() end
  is_more = is_more_due()
  return_aside()
  save_rings()
  write_plans()
  are_unlisted = list_expiries()
  for lane, number in pairs(removed) do count_queued(lane, -number) end
  if #ids > 0 then
    local made = cjson.encode({ request = claim.request, fence = fence, ids = ids })
    redis.call('SET', K.last_claim(claim.worker), made, 'PX', C.HOUR_MS)
  end
end
local due = next_due(is_more or is_more == nil and is_more_due(), are_unlisted)
return { int(now), due, claimed, is_called(), unreadable, has_passed_over() and 1 or 0 }
