-- Rings share turns fairly. A ring is a ZSET member → pass. The member with the lowest pass is
-- served next, and members with equal passes go by name. Each turn raises the pass by its cost. A
-- ring's virtual time is the pass that was served last.
-- A member enters with the virtual time plus `behind`. A member that is still in the ring keeps its
-- pass, or moves up to the virtual time if that is later. So neither waiting nor coming back saves
-- up turns.

-- RING_WIDTH: members that one call looks at. STEP: messages that one call moves from a list of due
-- times into the queues of a ring.
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

-- Returns the member whose turn it is, nil when there is none. `work_of` returns true for a member
-- with work, false for one that this call passes over, and nil for one without work.
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

-- Returns the names in ARGV from a place on, as a set.
local function names_from(place)
  local names = {}
  for at = place, #ARGV do names[ARGV[at]] = true end
  return names
end
