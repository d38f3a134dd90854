-- include: add_to_timeline, attempt_key, begin_life, count, may_redecide, other_unfailed_sid
-- include: read_expiry, read_instant, requeue, sid_line

-- Whether a failure that was reported after acceptance begins another life.
local function may_reopen(id, row, update, now)
  -- Proof came after a cancel was asked for. The message did go out, and it must not go out
  -- again.
  if row[F.cancel_asked] then return false end
  -- The producer wants no second POST, whatever becomes of the first.
  if row[F.on_unknown] == C.ON_UNKNOWN_NEVER then return false end
  -- Attempts that were never posted, and those before a replay, do not count as tries.
  local attempt = tonumber(row[F.accepted_attempt])
  if update.tries and attempt - row.free_attempts >= update.tries then return false end
  if update.redecides and not may_redecide(row, attempt) then return false end
  -- A later attempt without a proven outcome may be on its way, so another attempt would be a
  -- copy. It would also be a copy if another SID is proven.
  local person, last = row[F.person], row[F.attempt]
  if person and redis.call('ZSCORE', K.permits(person), attempt_key(id, last)) then return false end
  if other_unfailed_sid(row) then return false end
  if now - (read_instant(row[F.ended_at]) or 0) >= C.REOPEN_WITHIN_MS then return false end
  if now + update.reopen >= (read_expiry(row[F.expires_at]) or 0) then return false end
  return redis.call('EXISTS', K.job(id)) == 1
end

-- Puts a failed message back into its lane for a new attempt. The row keeps the SID that failed,
-- so that repeated reports on it are recognised.
local function reopen_message(id, row, update, now)
  local key, due = K.row(id), now + update.reopen
  begin_life(id, row)
  if update.redecides then
    row[F.redecided] = '1'
    redis.call('HSET', key, F.redecided, '1')
  end
  redis.call('HINCRBY', K.counts, 'end:accepted:' .. row[F.reason], -1)
  count('reopened')
  local before = row.sids[row[F.message_sid]]
  write_sid(id, row, row[F.message_sid], {
    n = tonumber(row[F.accepted_attempt]),
    rank = update.rank,
    status = update.status,
    final = true,
    failure = true,
    code = update.code,
    reopened = true,
    copied = before and before.copied,
    copied_by_reply = before and before.copied_by_reply,
  })
  redis.call('HDEL', key, F.message_sid, F.accepted_attempt, F.status, F.status_rank,
    F.ended_at)
  redis.call('ZREM', K.undelivered, id)
  row[F.message_sid], row[F.accepted_attempt] = nil, nil
  row[F.status_rank], row[F.ended_at] = nil, nil
  requeue(id, row, C.RETRYING, C.PROVIDER_TRANSIENT, due, now)
  add_to_timeline(id, now, 'reopened', { due = math.floor(due) })
end
