-- Moves on messages whose lease ran out.
-- ARGV: request id, limit, when to look for evidence of a lost attempt (ms from now), lease (ms).
-- Returns for each: id, stage, attempt.
-- Keys: meta, answered, leases, row, unknown, lane, queued, ready, marks, timers, expiring,
-- expiries, wake, timeline, permits, counts, sender, open_posts; and, when the message ends or
-- proof ends it, those of `settle.lua`, except sent_to.
-- Callers: `LedgerStore.reap`, for the dispatcher of each worker.

-- include: accept, account_of_sender, add_to_timeline, answer_once, clock, count, end_message
-- include: increment, int, leave_place, load_row, proof_of, remove_from_place, requeue, sender_of

local MIN_GRACE_MS = 5000
-- How many times in a row reaping waits for the holders.
local MAX_GRACES = 5
-- No worker's lease is longer.
local MAX_LEASE_MS = 600000
local request = ARGV[1]
local limit, look_after, lease = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local now = clock()

-- Counts a crash. Any message that a worker held when it crashed may have been the cause. After two
-- crashes the message is a suspect.
local function count_crash(id, row)
  row[F.crashes] = increment(K.row(id), F.crashes)
  return row[F.crashes]
end

local function is_poison(crashes)
  return crashes >= C.CRASHES_IN_COMPANY + C.CRASHES_ALONE
end

-- No intent was written, so nothing was sent. The message goes back to its lane, unless it is
-- poison.
local function reap_claimed(id, row)
  local crashes = count_crash(id, row)
  add_to_timeline(id, now, 'lease_lost', { crashes = tonumber(crashes) })
  if is_poison(crashes) and not row[F.cancel_asked] then
    end_message(id, row, C.DEAD, C.POISON, nil, now)
  else
    requeue(id, row, C.QUEUED, C.LEASE_LOST, now, now)
  end
end

-- The attempt may have reached Twilio, so the worker looks for evidence of it.
local function reap_posting(id, row)
  if row[F.charges] then
    leave_place(id, row, account_of_sender(sender_of(row[F.lane] or '') or ''), now)
  end
  local proof = proof_of(row)
  if proof then
    accept(id, row, row.sids[proof].n, proof, C.ACCEPTED, C.EVIDENCE_CALLBACK, now)
    return
  end
  remove_from_place(id, row)
  local crashes = count_crash(id, row)
  redis.call('HSET', K.row(id), F.stage, C.UNKNOWN, F.reason, C.OUTCOME_CRASH)
  -- Every worker that posts it crashes. Unless evidence ends it, it becomes a dead letter and is
  -- not sent again.
  if is_poison(crashes) then redis.call('HSET', K.row(id), F.is_poison, '1') end
  redis.call('ZADD', K.unknown, int(now + lead + look_after), id)
  count('unknown')
  add_to_timeline(id, now, 'unknown', {
    n = row[F.attempt], reason = C.OUTCOME_CRASH, crashes = tonumber(crashes),
  })
  row[F.stage] = C.UNKNOWN
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
  local at = time[1] * 1000 + time[2] / 1000
  local got = redis.call('HMGET', K.meta, 'reap_at', 'reap_from', 'reap_grace', 'reap_graces')
  local last, from = tonumber(got[1] or ''), tonumber(got[2] or '0')
  local grace, graces = tonumber(got[3] or '0'), tonumber(got[4] or '0')
  redis.call('HSET', K.meta, 'reap_at', int(at))
  if last and at - last > lease * 0.65 and graces < MAX_GRACES then
    grace = math.max(lease, MIN_GRACE_MS)
    from = at + grace
    redis.call('HSET', K.meta, 'reap_from', int(from), 'reap_grace', int(grace),
      'reap_graces', int(graces + 1))
  end
  if from > at and from <= at + grace then return true end
  if graces > 0 then redis.call('HDEL', K.meta, 'reap_graces') end
  return false
end

-- Shortens leases that end further ahead than any worker's lease can. They were written before the
-- store's clock was set back, and would last that much longer.
local function shorten_leases_ahead()
  local farthest = '(' .. int(now + lead + MAX_LEASE_MS)
  local ahead = redis.call('ZRANGEBYSCORE', K.leases, farthest, '+inf', 'LIMIT', 0, limit)
  for _, id in ipairs(ahead) do redis.call('ZADD', K.leases, int(now + lead + lease), id) end
end

return answer_once(request, C.HOUR_MS, function()
  local reaped = {}
  shorten_leases_ahead()
  if holders_come_first() then return reaped end
  local ended = redis.call('ZRANGEBYSCORE', K.leases, '-inf', int(now + lead), 'LIMIT', 0, limit)
  for _, id in ipairs(ended) do
    local row = load_row(id)
    if row and (row[F.stage] == C.CLAIMED or row[F.stage] == C.POSTING) then
      redis.call('HSET', K.row(id), F.fence, '0')
      if row[F.stage] == C.CLAIMED then reap_claimed(id, row) else reap_posting(id, row) end
      reaped[#reaped + 1] = { id, row[F.stage], row[F.attempt] }
    else
      redis.call('ZREM', K.leases, id)
    end
  end
  return reaped
end)
