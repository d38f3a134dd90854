-- include: int

-- The limit of a WhatsApp sender to one person stores, behind its arrival time, from when on no
-- message is booked: first of urgent messages, then of others. A message that is turned away is
-- booked for an instant of its own, so that a long queue to one person is not claimed again and
-- again. All count microseconds.

-- No arrival time lies further ahead than this.
local MAX_PAIR_AHEAD_US = 300000000
-- No booking lies further ahead than this.
local MAX_BOOKED_US = 86400000000

-- Returns the arrival time of a pair, and from when on no message is booked: urgent, then other.
-- `us`: now.
local function read_pair(key, us)
  local stored = redis.call('GET', key) or ''
  local arrival, urgent, other = string.match(stored, '^(%d+) ?(%d*) ?(%d*)$')
  local function upto(time, most) return math.min(tonumber(time or '') or 0, us + most) end
  return upto(arrival, MAX_PAIR_AHEAD_US), {
    urgent = upto(urgent, MAX_BOOKED_US), other = upto(other, MAX_BOOKED_US),
  }
end

-- Writes the times of a pair. The key expires when all of them have passed.
local function write_pair(key, arrival, booked, us)
  local last_booked, text = math.max(booked.urgent, booked.other), int(arrival)
  local last = math.max(arrival, last_booked)
  if last_booked > us then
    text = text .. ' ' .. int(booked.urgent) .. ' ' .. int(booked.other)
  end
  redis.call('SET', key, text, 'PX', int(math.max(0, math.ceil((last - us) / 1000)) + 1000))
end
