-- Moves on messages whose lease ran out.
-- ARGV: request id, limit, when to look for evidence of a lost attempt (ms from now), lease (ms).
-- Answers for each: id, stage, attempt.
local LEAST_GRACE = 5000
local GRACES = 5
local FARTHEST = 600000
local now = clock()

-- Whatever a worker held when it crashed may have been the cause. Twice so, it is a suspect.
local function blame(id, row)
  row.k = one_more(K.row(id), 'k')
  return row.k
end

local function is_poison(crashes)
  return crashes >= CRASHES_IN_COMPANY + CRASHES_ALONE
end

-- No intent was written, so nothing was sent: back to the lane, unless it is poison.
local function claimed(id, row)
  local crashes = blame(id, row)
  note(id, now, 'lease_lost', '"crashes":' .. crashes)
  if is_poison(crashes) and not row.x then
    end_message(id, row, 'dead', 'poison', nil, now)
  else
    requeue(id, row, 'queued', 'lease_lost', now, now)
  end
end

local function posting(id, row)
  local proof = proof_of(row)
  if proof then
    accept(id, row, row.sids[proof].n, proof, 'accepted', 'evidence_callback', now)
    return
  end
  leave(id, row)
  local crashes = blame(id, row)
  redis.call('HSET', K.row(id), 's', 'unknown', 'r', 'outcome_crash')
  -- It kills whoever posts it: unless evidence ends it, it is a dead letter instead of being sent again.
  if is_poison(crashes) then redis.call('HSET', K.row(id), 'po', '1') end
  redis.call('ZADD', K.unknown, int(now + lead + tonumber(ARGV[3])), id)
  count('unknown')
  note(id, now, 'unknown', '"n":' .. row.n .. ',"reason":"outcome_crash","crashes":' .. crashes)
  row.s = 'unknown'
end

-- Whoever works asks, and renews, every third of a lease. When nobody asked for two thirds, the store was away and leases ran out
-- unrenewed: whoever still holds messages gets one lease, five seconds at the least, to record what it knows. Otherwise each outage would
-- make unknowns, and after a few of them dead letters. So does each further gap, as a store may come back more than once; but after five in
-- a row there is a turn, so that a fleet too slow to ask in time still moves on. By the real clock: moving the sandbox's is no outage.
local function holders_come_first()
  local time = redis.call('TIME')
  local at, lease = time[1] * 1000 + time[2] / 1000, tonumber(ARGV[4])
  local got = redis.call('HMGET', K.meta, 'reap_at', 'reap_from', 'reap_grace', 'reap_graces')
  local last, from, grace, graces = tonumber(got[1] or ''), tonumber(got[2] or '0'), tonumber(got[3] or '0'), tonumber(got[4] or '0')
  redis.call('HSET', K.meta, 'reap_at', int(at))
  if last and at - last > lease * 0.65 and graces < GRACES then
    grace = math.max(lease, LEAST_GRACE)
    from = at + grace
    redis.call('HSET', K.meta, 'reap_from', int(from), 'reap_grace', int(grace), 'reap_graces', int(graces + 1))
  end
  if from > at and from <= at + grace then return true end
  if graces > 0 then redis.call('HDEL', K.meta, 'reap_graces') end
  return false
end

-- A lease further ahead than any worker's lasts was written before the store's clock was set back: it would last for as long as that.
local function shorten_leases_ahead()
  local lease = tonumber(ARGV[4])
  local ahead = redis.call('ZRANGEBYSCORE', K.leases, '(' .. int(now + lead + FARTHEST), '+inf', 'LIMIT', 0, tonumber(ARGV[2]))
  for _, id in ipairs(ahead) do redis.call('ZADD', K.leases, int(now + lead + lease), id) end
end

return once(ARGV[1], HOUR, function()
  local reaped = {}
  shorten_leases_ahead()
  if holders_come_first() then return reaped end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', K.leases, '-inf', int(now + lead), 'LIMIT', 0, tonumber(ARGV[2]))) do
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
