-- include: microseconds, rate_times

-- Rate limits by the generic cell rate algorithm (`policies/rate_limits.py`). A message may go out
-- while the arrival time lies no further ahead than the tolerance, and then moves it by an interval
-- for each unit.
-- A changed limit keeps its arrival time, so that a change never gives a second burst.
-- The limits of a call are read once, and written once at its end.

local states_by_key, limit_states = {}, {}

local function limit_state(key, now)
  local state = states_by_key[key]
  if not state then
    local arrival, planned = read_rate(key, microseconds(now))
    state = { key = key, arrival = arrival, planned = planned, turned_away = 0 }
    states_by_key[key], limit_states[#limit_states + 1] = state, state
  end
  return state
end

-- Adds a limit to those of a message.
local function add_limit(limits, now, mark, reason, key, pace)
  limits[#limits + 1] = {
    mark = mark, reason = reason, state = limit_state(key, now),
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
  end
  return limits
end

-- Returns the reason of the limit that holds the message up longest, and until when (ms); nil when
-- none does. The messages that this call turns away come back one after another, not all at once.
local function limit_in_the_way(limits, units, now)
  local us, longest, ends = microseconds(now), nil, nil
  for _, limit in ipairs(limits) do
    local free_at = limit.state.arrival - limit.tolerance
    local turn = free_at + limit.state.turned_away
    if free_at > us and (not ends or turn > ends) then longest, ends = limit, turn end
  end
  if not longest then return nil end
  longest.state.turned_away = longest.state.turned_away + units * longest.interval
  return longest.reason, ends / 1000
end

-- Charges a message to all its limits. Returns what `give_back_charges` needs, as it is stored.
local function charge_limits(limits, units, now)
  local us, text = microseconds(now), ''
  for _, limit in ipairs(limits) do
    local state, cost = limit.state, units * limit.interval
    state.arrival, state.is_charged = math.max(state.arrival, us) + cost, true
    text = string.format('%s%s%.0f-%.0f', text, limit.mark, state.arrival, cost)
  end
  return text
end

-- Writes what was charged.
local function write_limits(now)
  local us = microseconds(now)
  for _, state in ipairs(limit_states) do
    if state.is_charged then write_rate(state.key, state.arrival, state.planned, us) end
  end
end
