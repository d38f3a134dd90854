-- include: microseconds, pair_times, rate_times

-- Rate limits by the generic cell rate algorithm (`policies/rate_limits.py`). A message may go out
-- while the arrival time lies no further ahead than the tolerance, and then moves it by an interval
-- for each unit.
-- A changed limit keeps its arrival time, so that a change never gives a second burst.
-- The limits of a call are read once, and written once at its end.

local states_by_key, limit_states = {}, {}

local function limit_state(key, now, is_pair)
  local state = states_by_key[key]
  if not state then
    state = { key = key, turned_away = 0 }
    local us = microseconds(now)
    if is_pair then
      state.arrival, state.booked = read_pair(key, us)
    else
      state.arrival, state.planned = read_rate(key, us)
    end
    states_by_key[key], limit_states[#limit_states + 1] = state, state
  end
  return state
end

-- Adds a limit to those of a message.
local function add_limit(limits, now, mark, reason, key, pace)
  limits[#limits + 1] = {
    mark = mark, reason = reason, state = limit_state(key, now, reason == C.PAIR_RATE),
    interval = pace[1], tolerance = pace[2],
  }
end

-- Returns the limits of a message: those that the settings set.
local function limits_of(request, now)
  local charge, limits = request.charge, {}
  if charge.account then
    add_limit(limits, now, ' a', C.ACCOUNT_RATE, K.account_rate(request.account), charge.account)
  end
  if charge.sender then
    add_limit(limits, now, ' s', C.SENDER_RATE, K.sender_rate(request.sender), charge.sender)
  end
  if charge.pair then
    local key = K.pair_rate(request.person, request.sender)
    add_limit(limits, now, ' p', C.PAIR_RATE, key, charge.pair)
    limits[#limits].is_booked = request.is_booked
    limits[#limits].class = charge.urgent and 'urgent' or 'other'
  end
  return limits
end

-- Returns when (µs) a pair lets a message through, nil when it does now. What is booked goes first:
-- a message without a booking passes only if no booking of its class or of urgent messages is left,
-- or if the last instant was left unused for a whole interval.
local function pair_turn(limit, us)
  local state, booked = limit.state, limit.state.booked
  local free_at = state.arrival - limit.tolerance
  local behind = math.max(booked.urgent, booked[limit.class])
  local is_reserved = not limit.is_booked and behind > us and free_at + limit.interval > us
  if free_at <= us and not is_reserved then return nil end
  return math.max(free_at, behind)
end

-- Returns when (µs) a limit lets a message through, nil when it does now. The messages that this
-- call turns away come back one after another, not all at once.
local function turn_of(limit, us)
  if limit.state.booked then return pair_turn(limit, us) end
  local free_at = limit.state.arrival - limit.tolerance
  return free_at > us and free_at + limit.state.turned_away or nil
end

-- Returns the reason of the limit that holds the message up longest, and until when (ms); nil when
-- none does. A message that a pair holds up is booked for that instant.
local function limit_in_the_way(limits, units, now)
  local us, longest, ends = microseconds(now), nil, nil
  for _, limit in ipairs(limits) do
    local turn = turn_of(limit, us)
    if turn and (not ends or turn > ends) then longest, ends = limit, turn end
  end
  if not longest then return nil end
  local state, cost = longest.state, units * longest.interval
  state.turned_away = state.turned_away + cost
  if state.booked then
    state.booked[longest.class], state.is_changed = ends + cost, true
  end
  return longest.reason, ends / 1000
end

-- Charges a message to all its limits. Returns what `give_back_charges` needs, as it is stored.
local function charge_limits(limits, units, now)
  local us, text = microseconds(now), ''
  for _, limit in ipairs(limits) do
    local state, cost = limit.state, units * limit.interval
    state.arrival, state.is_changed = math.max(state.arrival, us) + cost, true
    text = string.format('%s%s%.0f-%.0f', text, limit.mark, state.arrival, cost)
  end
  return text
end

-- Writes what was charged and booked.
local function write_limits(now)
  local us = microseconds(now)
  for _, state in ipairs(limit_states) do
    if state.is_changed and state.booked then
      write_pair(state.key, state.arrival, state.booked, us)
    elseif state.is_changed then
      write_rate(state.key, state.arrival, state.planned, us)
    end
  end
end
