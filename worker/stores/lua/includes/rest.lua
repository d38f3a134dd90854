-- include: int, turn_rings

-- How many overtaken passes are forgotten when one is added.
local MAX_FORGOTTEN_MEMBERS = 3
-- The rings out of which this call has set members aside (`set_aside.lua`). They come back.
local has_aside = {}

-- Returns the pass that a score holds.
local function pass_of(score)
  return math.floor(tonumber(score) / MAX_ARRIVALS)
end

-- Keeps the pass of a member that leaves a ring in which others have work.
local function keep_pass(name, member, pass)
  local time = times[name] or passes_kept(name, member)
  if pass <= time then return end
  local overtaken = { K.rested(name), '-inf', int(time), 'LIMIT', 0, MAX_FORGOTTEN_MEMBERS }
  for _, each in ipairs(redis.call('ZRANGEBYSCORE', unpack(overtaken))) do
    if each ~= TIME then redis.call('ZREM', K.rested(name), each) end
  end
  redis.call('ZADD', K.rested(name), int(pass), member)
end

-- Whether a ring has no members.
local function is_empty(name)
  return not has_aside[name] and redis.call('EXISTS', K.ring(name)) == 0
end

-- Forgets what a ring without members remembered.
local function forget_ring(name)
  redis.call('DEL', K.rested(name))
  times[name], later[name] = 0, nil
end
