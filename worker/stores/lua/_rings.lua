-- Rings share turns fairly. A ring is a ZSET member -> pass: the member with the lowest pass is
-- served next, equal passes by name, and each turn raises the pass by what it costs. A ring's
-- virtual time is the pass that was served last. A member enters so far behind the virtual time as
-- it is told, or at the pass it left with if that is later, so that neither waiting nor coming back
-- saves up turns.

-- Members that are looked at in one call, and messages that move from a list of due times into a
-- ring's queues.
local RING_WIDTH = 256
local STEP = 32

local function exact(number)
  return string.format('%.17g', number)
end

local function ring_time(ring)
  return tonumber(redis.call('HGET', K.rings, ring) or '0')
end

local function ring_enter(ring, member, behind)
  local pass, time = redis.call('ZSCORE', ring, member), ring_time(ring)
  if not pass then
    redis.call('ZADD', ring, exact(time + behind), member)
  elseif tonumber(pass) < time then
    redis.call('ZADD', ring, exact(time), member)
  end
end

-- The member whose turn it is, nil when there is none. `work_of` returns true for a member with
-- work, false for one that is passed over now, and nil for one without work.
local function ring_next(ring, work_of)
  local time = ring_time(ring)
  local found = redis.call('ZRANGE', ring, 0, RING_WIDTH - 1, 'WITHSCORES')
  for at = 1, #found, 2 do
    local member, pass = found[at], tonumber(found[at + 1])
    local work = work_of(member)
    if work then return member end
    if work == nil and pass <= time then
      redis.call('ZREM', ring, member)
    elseif pass < time then
      redis.call('ZADD', ring, exact(time), member)
    end
  end
end

local function ring_charge(ring, member, cost)
  local pass = tonumber(redis.call('ZSCORE', ring, member))
  redis.call('HSET', K.rings, ring, exact(math.max(ring_time(ring), pass)))
  redis.call('ZADD', ring, exact(pass + cost), member)
end

local function account_of_sender(sender)
  return redis.call('HGET', K.sender(sender), 'a') or ''
end

-- The names in ARGV from a place on, as a set.
local function names_from(place)
  local names = {}
  for at = place, #ARGV do names[ARGV[at]] = true end
  return names
end
