-- include: int

-- A rate limit stores its arrival time: until then, what was charged is not yet worked off. Behind
-- it stands the planned arrival time, if that is later: what it will be once everything that is
-- claimed has been admitted. Both count microseconds.

-- No arrival time lies further ahead than this. One that does was written before the store's clock
-- was set back, and would hold messages up for that long.
local MAX_AHEAD_US = 300000000

-- Returns the arrival time of a limit and the planned one. `us`: now.
local function read_rate(key, us)
  local arrival, planned = string.match(redis.call('GET', key) or '', '^(%d+) ?(%d*)$')
  local farthest = us + MAX_AHEAD_US
  arrival = math.min(tonumber(arrival or '0'), farthest)
  return arrival, math.max(arrival, math.min(tonumber(planned or '') or 0, farthest))
end

-- Writes the times of a limit. One whose times have passed is as good as new, so its key expires.
local function write_rate(key, arrival, planned, us)
  local left = math.max(0, math.ceil((math.max(arrival, planned) - us) / 1000))
  local text = planned > arrival and int(arrival) .. ' ' .. int(planned) or int(arrival)
  redis.call('SET', key, text, 'PX', int(left + 1000))
end
