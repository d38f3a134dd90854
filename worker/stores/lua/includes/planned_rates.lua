-- include: microseconds, rate_times

-- Plans how many messages are claimed of a sender or an account whose rate is limited, so that
-- admission turns none of them away. Only admission charges. The claim moves the planned arrival
-- time by an interval for each message, and the next claim takes no more than fit behind it. What a
-- crash leaves planned is overtaken by time.

local plans = {}

-- Returns the plan of a sender or an account, nil when nothing limits its rate. `pace`: the
-- interval and the tolerance that are registered with it.
local function plan_of(kind, name, pace, now)
  local interval, tolerance = string.match(pace or '', '^([1-9]%d*) (%d+)$')
  if not interval then return nil end
  local key = kind == 'account' and K.account_rate(name) or K.sender_rate(name)
  if not plans[key] then
    local us = microseconds(now)
    local arrival, planned = read_rate(key, us)
    interval, tolerance = tonumber(interval), tonumber(tolerance)
    -- No claim plans further ahead.
    planned = math.min(planned, us + tolerance + interval)
    plans[key] = {
      key = key, arrival = arrival, planned = math.max(arrival, planned), us = us,
      interval = interval, tolerance = tolerance,
    }
    plans[#plans + 1] = plans[key]
  end
  return plans[key]
end

-- Returns how many messages may be claimed now, and when (ms) some may be claimed if none may now.
-- Half of a burst must fit by then, so that a high rate does not cost a claim for each message. The
-- other half is time for claims that come late.
local function room_in(plan)
  local ahead = math.max(plan.planned, plan.us) - plan.tolerance
  local half = math.floor((plan.tolerance / plan.interval + 2) / 2)
  local free_at = math.ceil((ahead + (half - 1) * plan.interval) / 1000)
  return math.max(0, math.floor((plan.us - ahead) / plan.interval) + 1), free_at
end
