-- Moves on messages whose lease ran out.
-- ARGV: request id, limit, when to look for evidence of a lost attempt (ms from now), lease (ms).
-- Answers for each: id, stage, attempt.
local ALONE = 3
local LEAST_GRACE = 5000
local now = clock()

-- Whatever a worker held when it crashed is a suspect from now on, and claimed alone.
local function blame(id, row)
  row.k = redis.call('HINCRBY', K.row(id), 'k', 1)
  return row.k
end

-- No intent was written, so nothing was sent: back to the lane. One that crashes its worker three times alone is poison.
local function claimed(id, row)
  local crashes = blame(id, row)
  note(id, now, 'lease_lost', '"crashes":' .. crashes)
  if crashes > ALONE and not row.x then
    end_message(id, row, 'dead', 'poison', nil, now)
  else
    requeue(id, row, 'queued', 'lease_lost', now, now)
  end
end

local function posting(id, row)
  if row.ev then
    local attempt, sid = string.match(row.ev, '^(%d+):(.*)$')
    accept(id, row, tonumber(attempt), sid, 'accepted', 'evidence_callback', now)
    return
  end
  leave(id, row)
  local crashes = blame(id, row)
  redis.call('HSET', K.row(id), 's', 'unknown', 'r', 'outcome_crash')
  if crashes > ALONE and row.u ~= 'hold' then
    -- It kills whoever posts it: unless evidence ends it, it is a dead letter, whatever its rule was.
    redis.call('HSET', K.row(id), 'u', 'never')
  end
  redis.call('ZADD', K.unknown, int(now + tonumber(ARGV[3])), id)
  count('unknown')
  note(id, now, 'unknown', '"n":' .. row.n .. ',"reason":"outcome_crash"')
  row.s = 'unknown'
end

-- Whoever works asks every half lease and renews every third of one. When nobody asked for two thirds, the store was away and leases ran
-- out unrenewed: whoever still holds messages gets one lease, five seconds at the least, to record what it knows. Otherwise each outage
-- would make unknowns, and after a few of them dead letters. Never twice without a turn between, and without the sandbox's offset: a moved clock is no outage.
local function holders_come_first()
  local time = redis.call('TIME')
  local at, lease = time[1] * 1000 + time[2] / 1000, tonumber(ARGV[4])
  local grace = math.max(lease, LEAST_GRACE)
  local got = redis.call('HMGET', K.meta, 'reap_at', 'reap_from')
  local last, from = tonumber(got[1] or ''), tonumber(got[2] or '0')
  if not last or math.abs(at - last) > lease / 4 then redis.call('HSET', K.meta, 'reap_at', int(at)) end
  if last and last >= from and at - last > lease * 0.65 then
    from = at + grace
    redis.call('HSET', K.meta, 'reap_from', int(from))
  end
  return from > at and from <= at + grace
end

return once(ARGV[1], function()
  local reaped = {}
  if holders_come_first() then return reaped end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', K.leases, '-inf', int(now), 'LIMIT', 0, tonumber(ARGV[2]))) do
    local row = load(id)
    if row and (row.s == 'claimed' or row.s == 'posting') then
      redis.call('HSET', K.row(id), 'f', '0')
      if row.s == 'claimed' then claimed(id, row) else posting(id, row) end
      reaped[#reaped + 1] = { id, row.s, row.n }
    else
      redis.call('ZREM', K.leases, id)
    end
  end
  return reaped
end)
