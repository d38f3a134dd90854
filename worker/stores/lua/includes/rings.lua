-- Rings share turns fairly. A ring is a ZSET member → pass. The member with the lowest pass is
-- served next, and members with equal passes go by name. Each turn raises the pass by its cost. A
-- ring's virtual time is the pass that was served last.
-- A member enters with the virtual time plus `behind`. A member that is still in the ring keeps its
-- pass, or moves up to the virtual time if that is later. So neither waiting nor coming back saves
-- up turns.

-- How many members one call looks at.
local MAX_RING_MEMBERS = 256

-- Returns a number as a text from which Redis reads the same number.
local function exact(number)
  return string.format('%.17g', number)
end

-- Returns the virtual time of a ring.
local function ring_time(ring)
  return tonumber(redis.call('HGET', K.rings, ring) or '0')
end

-- Puts a member into a ring, `behind` the virtual time.
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
  local found = redis.call('ZRANGE', ring, 0, MAX_RING_MEMBERS - 1, 'WITHSCORES')
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

-- Charges the member that was served for its turn.
local function ring_charge(ring, member, cost)
  local pass = tonumber(redis.call('ZSCORE', ring, member))
  redis.call('HSET', K.rings, ring, exact(math.max(ring_time(ring), pass)))
  redis.call('ZADD', ring, exact(pass + cost), member)
end
