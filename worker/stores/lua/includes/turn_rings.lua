-- include: int

-- Rings divide turns among members with work. A ring is a ZSET. A score holds the pass of a member,
-- and the order of arrival among equal passes. The member with the lowest pass has the next turn,
-- and each turn raises its pass by what it cost. The virtual time of a ring is the pass that had
-- the last turn.
-- A member that enters gets the virtual time as its pass, or its own pass if that is later. So one
-- that leaves and comes back has neither saved up turns nor forgotten the ones that it had. The
-- passes of members without work are in `K.rested`, with the virtual time, until that has overtaken
-- them. When a ring is empty, no member waits for a turn in it, so it forgets everything.
-- A script that uses a ring calls `save_rings` at its end.

-- How many arrivals are told apart among equal passes. A score above 2^53 tells fewer apart.
local MAX_ARRIVALS = 65536
-- The member of `K.rested` that holds the virtual time. No name contains this character.
local TIME = '|'
-- Ring → its virtual time, as far as this call knows it; and the rings whose time it changed.
local times, later, arrivals = {}, {}, nil

-- Returns the score of a pass, behind every equal pass that came earlier.
local function score_of(pass)
  arrivals = (arrivals or tonumber(redis.call('HGET', K.meta, 'arrivals') or '0')) + 1
  return int(pass * MAX_ARRIVALS + arrivals % MAX_ARRIVALS)
end

-- Returns the virtual time of a ring, and the pass that a member without work has kept.
local function passes_kept(name, member)
  local kept = redis.call('ZMSCORE', K.rested(name), TIME, member)
  times[name] = times[name] or tonumber(kept[1] or '0')
  return times[name], tonumber(kept[2] or '0')
end

-- Puts a member into a ring. Returns false when it was there already.
local function enter_ring(name, member)
  local time, own = passes_kept(name, member)
  local score = score_of(math.max(time, own))
  if redis.call('ZADD', K.ring(name), 'NX', score, member) == 0 then return false end
  if own > 0 then redis.call('ZREM', K.rested(name), member) end
  return true
end

-- Stores the virtual times of the rings that gave turns.
local function save_rings()
  if arrivals then redis.call('HSET', K.meta, 'arrivals', int(arrivals % MAX_ARRIVALS)) end
  for name in pairs(later) do
    redis.call('ZADD', K.rested(name), int(times[name]), TIME)
  end
end
