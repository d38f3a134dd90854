-- Moves on messages whose lease ran out.
-- ARGV: request id, limit, when to look for evidence of a lost attempt (ms from now), lease (ms).
-- Returns for each: id, stage, attempt.
-- Keys: meta, answered, leases, row, unknown, lane, ready, timers, wake, timeline, permits, counts;
-- and, when the message ends or proof ends it, those of `settle.lua`, except sent_to.
-- Callers: `LedgerStore.reap`, for the dispatcher of each worker.
local MIN_GRACE = 5000
local GRACES = 5
local FARTHEST = 600000
local now = clock()

-- Any message that a worker held when it crashed may have been the cause. After two crashes the
-- message is a suspect.
local function blame(id, row)
  row.k = one_more(K.row(id), 'k')
  return row.k
end

local function is_poison(crashes)
  return crashes >= CRASHES_IN_COMPANY + CRASHES_ALONE
end

-- No intent was written, so nothing was sent. The message goes back to its lane, unless it is
-- poison.
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
  -- Every worker that posts it crashes. Unless evidence ends it, it becomes a dead letter and is
  -- not sent again.
  if is_poison(crashes) then redis.call('HSET', K.row(id), 'po', '1') end
  redis.call('ZADD', K.unknown, int(now + lead + tonumber(ARGV[3])), id)
  count('unknown')
  note(id, now, 'unknown', '"n":' .. row.n .. ',"reason":"outcome_crash","crashes":' .. crashes)
  row.s = 'unknown'
end

-- Whether the workers that hold messages come before reaping.
-- Every worker reaps, and renews its leases, every third of a lease. If no worker has reaped for
-- two thirds of a lease, Redis was down and leases expired unrenewed. So we wait one more lease,
-- and at least five seconds, to let their holders record what they know. Otherwise each outage
-- would make messages unknown, and a few outages would make them dead letters.
-- Redis may come back more than once, so each further gap gets the same grace. After five in a row
-- we reap once, so that a fleet that is too slow to reap in time still moves on. This uses the real
-- clock, because moving the sandbox's clock is not an outage.
local function holders_come_first()
  local time = redis.call('TIME')
  local at, lease = time[1] * 1000 + time[2] / 1000, tonumber(ARGV[4])
  local got = redis.call('HMGET', K.meta, 'reap_at', 'reap_from', 'reap_grace', 'reap_graces')
  local last, from, grace, graces = tonumber(got[1] or ''), tonumber(got[2] or '0'), tonumber(got[3] or '0'), tonumber(got[4] or '0')
  redis.call('HSET', K.meta, 'reap_at', int(at))
  if last and at - last > lease * 0.65 and graces < GRACES then
    grace = math.max(lease, MIN_GRACE)
    from = at + grace
    redis.call('HSET', K.meta, 'reap_from', int(from), 'reap_grace', int(grace), 'reap_graces', int(graces + 1))
  end
  if from > at and from <= at + grace then return true end
  if graces > 0 then redis.call('HDEL', K.meta, 'reap_graces') end
  return false
end

-- Shortens leases that end further ahead than any worker's lease can. They were written before the
-- store's clock was set back, and would last that much longer.
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
