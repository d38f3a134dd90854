-- Applies what an operator decides about dead letters, and about messages that were refused, failed
-- or expired.
-- ARGV: request id; 'replay' | 'drop' (dead letters) | 'retry' | 'may_retry' (writes nothing); '1'
-- to send also what may already have been sent; then for each message its id and, if it is to be
-- sent again, when it expires (ms).
-- Repeated under the same request id, it returns the same and changes nothing. A different decision
-- finds the messages as this one left them.
-- Returns for each: 'replayed', 'dropped', 'retried', 'may_go' (instead of 'retried'), 'not_dead',
-- 'not_ended' (it did not end in one of those ways), 'unknown_id', 'no_job' (there is nothing to
-- send), 'cancelled' (its producer no longer wants it), 'sent' (an attempt is proven and not known
-- to have failed), 'perhaps_sent' (an attempt may have reached the person, and the operator did not
-- accept that).
-- Keys: meta, answered, row, timeline, job, dead, unreadable, lane, queued, ready, marks, timers,
-- expiring, expiries, wake, permits, counts.
-- Callers: `RecordStore.replay`, `retry`, `may_retry` and `drop`, for the operator's commands.

-- include: add_to_timeline, answer_once, clock, count, counts_as_cancelled, load_row, retriable
-- include: send_again, what_forbids_sending

local now = clock()

local function replay(id, row, expires, even_if_sent)
  if row[F.stage] ~= C.DEAD then return 'not_dead' end
  local hindrance = what_forbids_sending(id, row, even_if_sent)
  if hindrance then return hindrance end
  redis.call('ZREM', K.dead, id)
  count('replayed')
  send_again(id, row, C.REPLAYED, expires, now)
  return 'replayed'
end

local function may_retry(id, row, even_if_sent)
  if row[F.stage] == C.CANCELLED or counts_as_cancelled(row) then return 'cancelled' end
  if not RETRIABLE[row[F.stage]] then return 'not_ended' end
  return what_forbids_sending(id, row, even_if_sent) or 'may_go'
end

local function retry(id, row, expires, even_if_sent)
  local word = may_retry(id, row, even_if_sent)
  if word ~= 'may_go' then return word end
  count('retried')
  send_again(id, row, C.RETRIED, expires, now)
  return 'retried'
end

local function drop(id, row)
  if row[F.stage] ~= C.DEAD then return 'not_dead' end
  if row[F.reason] == C.DROPPED then return 'dropped' end
  redis.call('ZREM', K.dead, id)
  redis.call('HINCRBY', K.counts, 'end:dead:' .. row[F.reason], -1)
  count('end:dead:dropped')
  redis.call('HSET', K.row(id), F.reason, C.DROPPED)
  add_to_timeline(id, now, 'dropped')
  redis.call('DEL', K.job(id), K.unreadable(id))
  redis.call('PEXPIRE', K.row(id), C.KEEP_ENDED_MS)
  redis.call('PEXPIRE', K.timeline(id), C.KEEP_ENDED_MS)
  return 'dropped'
end

local request, decision, even_if_sent = ARGV[1], ARGV[2], ARGV[3] == '1'

local function decide(id, row, expires)
  if not row then return 'unknown_id' end
  if decision == 'drop' then return drop(id, row) end
  if decision == 'replay' then return replay(id, row, expires, even_if_sent) end
  if decision == 'retry' then return retry(id, row, expires, even_if_sent) end
  return may_retry(id, row, even_if_sent)
end

local function decide_all()
  local answers = {}
  for at = 4, #ARGV, 2 do
    local id, expires = ARGV[at], ARGV[at + 1]
    answers[#answers + 1] = decide(id, load_row(id), expires)
  end
  return answers
end

if #ARGV > 3 + 2 * C.MAX_DECIDED_MESSAGES then
  return redis.error_reply('ERR at most ' .. C.MAX_DECIDED_MESSAGES .. ' messages a call')
end
if decision == 'may_retry' then return decide_all() end
return answer_once(request, C.HOUR_MS, decide_all)
