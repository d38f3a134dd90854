-- include: int

-- Limits how many people a portfolio writes to outside an open session window in 24 hours. The set
-- holds for each of them when the last such message was charged.

local portfolios = {}

local function portfolio_state(name, now)
  local state = portfolios[name]
  if not state then
    state = { key = K.portfolio(name), charged = 0 }
    redis.call('ZREMRANGEBYSCORE', state.key, '-inf', int(now - C.DAY_MS))
    state.people = redis.call('ZCARD', state.key)
    portfolios[name] = state
  end
  return state
end

-- Returns until when (ms) a message to another person waits, nil when it need not. It is booked for
-- the instant at which the next place becomes free that is not booked yet.
-- `limit`: the name of the portfolio, and how many people there may be.
local function portfolio_until(limit, person, now)
  local name, most = unpack(limit)
  local state = portfolio_state(name, now)
  if state.people < most or redis.call('ZSCORE', state.key, person) then return nil end
  state.booked = state.booked or tonumber(redis.call('GET', K.portfolio_booked(name)) or '0')
  local first = redis.call('ZRANGE', state.key, state.people - most,
    state.people - most, 'WITHSCORES')
  local due = tonumber(first[2]) + C.DAY_MS
  if state.booked >= due then
    -- Two charges are at least a thousandth of a millisecond apart.
    local behind = string.format('%.4f', state.booked - C.DAY_MS + 0.0005)
    local found = { state.key, behind, '+inf', 'WITHSCORES', 'LIMIT', 0, 1 }
    local free_at = tonumber(redis.call('ZRANGEBYSCORE', unpack(found))[2] or '')
    due = free_at and free_at + C.DAY_MS or state.booked + C.DAY_MS / most
  end
  state.booked = due
  redis.call('SET', K.portfolio_booked(name), string.format('%.3f', due),
    'PX', int(math.max(0, due - now) + 1000))
  return due
end

-- Charges a message to a portfolio. Returns what `give_back_charges` needs, as it is stored.
local function charge_portfolio(limit, person, now)
  local name = limit[1]
  local state = portfolio_state(name, now)
  local before = redis.call('ZSCORE', state.key, person)
  local at = string.format('%.3f', now + state.charged / 1000)
  state.charged = state.charged + 1
  redis.call('ZADD', state.key, at, person)
  redis.call('PEXPIRE', state.key, int(C.DAY_MS + 1000))
  if not before then state.people = state.people + 1 end
  return ' |' .. name .. '|' .. at .. '|' .. (before or '')
end
