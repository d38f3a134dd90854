-- Takes up to `limit` due messages over all ready lanes: the lane with the lowest virtual time first, at most QUANTUM at once.
-- Repeated with the same request id, it answers the same messages as long as their leases hold.
-- ARGV: worker id, request id, limit, lease (ms), inner and outer block of the person key.
-- Answers: now (ms), next due (ms, -1: none), and for each message
--   id, fence, payload or false, n, expires, on_unknown, redecided, crashes, cancel asked, enqueued, free attempts, facts.
local QUANTUM = 8
local MOVES = 256
local RECHECK = 60000
local LOOKED_AT = 256
local GO_ON = 50
local WEIGHTS = { urgent = 16, normal = 4, bulk = 1 }
local worker, request, limit, lease = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local inner, outer = ARGV[5], ARGV[6]
local now = clock()
local cache, accounts = {}, {}
local claimed, ids = {}, {}
local fence

local function account_of(sender)
  if not accounts[sender] then accounts[sender] = redis.call('HGET', K.sender(sender), 'a') or '' end
  return accounts[sender]
end

local WANTED = { 's', 'n', 'e', 'u', 'rd', 'k', 'x', 'q', 'f', 'w', 'l', 'fa' }

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
  local digest = known and digest_of(message.to, inner, outer) or ''
  local sender = sender_of(row.l)
  local facts = facts_of(id, digest, sender, account_of(sender), template_of(message), now, cache)
  claimed[#claimed + 1] = {
    id, row.f, payload, row.n or '0', row.e or '0', row.u or '', row.rd or '', row.k or '0', row.x or '', row.q or '0',
    row.fa or '0', facts,
  }
  ids[#ids + 1] = id
  return facts
end

-- Higher than every one before, as microseconds of the server's own clock. A counter would not do: a replica that becomes primary counts
-- the claims it missed once more, and their holders may still be there.
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
  redis.call('ZADD', K.leases, int(now + lease), id)
end

-- Milliseconds until which neither the sender nor its account may send; 0 when both may.
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

-- What a lane is once its due messages were taken: still ready, on a timer, or gone.
local function settle_lane(lane, vtime)
  local first = redis.call('ZRANGE', K.lane(lane), 0, 0, 'WITHSCORES')
  if not first[1] then
    redis.call('ZREM', K.ready, lane)
  elseif tonumber(first[2]) <= now then
    if vtime then redis.call('ZADD', K.ready, string.format('%.17g', vtime), lane) end
  else
    to_timers(lane, tonumber(first[2]))
  end
end

-- Answers how many were taken from a lane, and true when the call must end: a message that crashed before goes alone.
local function serve(lane, room)
  local taken = 0
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', K.lane(lane), '-inf', string.format('%.17g', now), 'LIMIT', 0, room)) do
    local row = fetch(id)
    if not row or not (row.s == 'queued' or row.s == 'waiting' or row.s == 'retrying') then
      redis.call('ZREM', K.lane(lane), id)
    else
      local crashed = tonumber(row.k or '0') > 0
      if crashed and #claimed > 0 then return taken, true end
      take(id, row)
      taken = taken + 1
      if crashed then return taken, true end
    end
  end
  return taken, false
end

-- While a lane is paused nothing is sent from it, but what expires meanwhile still ends: each look goes on where the last
-- one ended, and the next comes at once until the whole lane was looked through. Answers whether it was.
local function serve_expired(lane, room)
  local place = 'look:' .. lane
  local from = tonumber(redis.call('HGET', K.meta, place) or '0')
  local ids = redis.call('ZRANGEBYSCORE', K.lane(lane), '-inf', string.format('%.17g', now), 'LIMIT', from, LOOKED_AT)
  local taken = 0
  for at, id in ipairs(ids) do
    if taken == room then
      redis.call('HSET', K.meta, place, int(from + at - 1 - taken))
      return false
    end
    local row = fetch(id)
    if row and tonumber(row.e or '0') <= now and not tonumber(row.k or '') then
      take(id, row)
      taken = taken + 1
    end
  end
  if #ids == LOOKED_AT then
    redis.call('HSET', K.meta, place, int(from + #ids - taken))
    return false
  end
  redis.call('HDEL', K.meta, place)
  return true
end

local function wake_due_lanes()
  for _, lane in ipairs(redis.call('ZRANGEBYSCORE', K.timers, '-inf', int(now), 'LIMIT', 0, MOVES)) do
    redis.call('ZREM', K.timers, lane)
    enter_ready(lane)
  end
end

local function pick()
  local done, moves = false, 0
  while #claimed < limit and not done and moves < MOVES do
    moves = moves + 1
    local first = redis.call('ZRANGE', K.ready, 0, 0, 'WITHSCORES')
    if not first[1] then return end
    local lane, vtime = first[1], tonumber(first[2])
    local sender, priority = string.match(lane, '^(.-)|(.-)|')
    local paused = paused_until(sender)
    if paused > 0 then
      -- On a timer until the pause ends, so that waiting costs next to nothing.
      local is_through = serve_expired(lane, limit - #claimed)
      to_timers(lane, math.min(paused, now + (is_through and RECHECK or GO_ON)))
    else
      local taken
      taken, done = serve(lane, math.min(QUANTUM, limit - #claimed))
      redis.call('HSET', K.meta, 'vtime', first[2])
      settle_lane(lane, vtime + taken / (WEIGHTS[priority] or 1))
    end
  end
end

local function next_due()
  if redis.call('ZCARD', K.ready) > 0 then
    -- More is due than was asked for: let another claimer have it.
    wake()
    return int(now)
  end
  redis.call('DEL', K.wake)
  local first = redis.call('ZRANGE', K.timers, 0, 0, 'WITHSCORES')
  return first[2] and int(tonumber(first[2])) or '-1'
end

local before = redis.call('GET', K.last_claim(worker))
local last = before and decoded(before)
if last and last.request == request then
  for _, id in ipairs(last.ids) do
    local row = fetch(id)
    if row and row.s == 'claimed' and row.f == last.fence then hand_out(id, row) end
  end
else
  wake_due_lanes()
  pick()
  if #ids > 0 then
    redis.call('SET', K.last_claim(worker), cjson.encode({ request = request, fence = fence, ids = ids }), 'PX', int(lease * 4))
  end
end
return { int(now), next_due(), claimed }
