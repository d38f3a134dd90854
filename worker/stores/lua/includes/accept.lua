-- include: add_to_timeline, apply_report_effects, apply_status, attempt_key, bind_sid, count
-- include: delete_sid, int, read_expiry, remove_from_place, set_reply_status, sid_line

-- Returns the report on a SID that came before its message was accepted with that SID, after
-- applying what it teaches. From now on the row's status replaces it.
local function early_report(id, row, attempt, sid, early, now)
  local kept = row.sids[sid]
  if kept then delete_sid(id, row, sid) end
  if not early or (kept and kept.rank >= early.rank) then return kept end
  apply_report_effects(id, row, attempt, early, now, nil, kept and kept.failure)
  return early
end

-- Keeps with the SID whether it was counted as a copy, and whether a report or a reply showed
-- that.
local function keep_copy_mark(id, row, attempt, sid, kept, is_new_copy, by_reply)
  local by_report = kept and kept.copied or (is_new_copy and not by_reply) or nil
  local by_own_reply = kept and kept.copied_by_reply or (is_new_copy and by_reply) or nil
  if by_report or by_own_reply then
    write_sid(id, row, sid, {
      n = attempt, rank = -1, copied = by_report, copied_by_reply = by_own_reply,
    })
  end
end

-- Ends a message as accepted. The job stays while a reported failure may still begin another
-- life.
-- `rank`: the rank of `status`, when a reply gave it. A report that came earlier is applied at
-- once, and may begin another life.
local function accept(id, row, attempt, sid, status, reason, now, rank)
  remove_from_place(id, row)
  if row[F.person] then
    redis.call('ZREM', K.permits(row[F.person]), attempt_key(id, attempt))
  end
  local key = K.row(id)
  local was_unknown = row[F.stage] == C.UNKNOWN or row[F.stage] == C.UNRESOLVED
  local is_copy, early = bind_sid(id, row, attempt, sid, now)
  local kept = early_report(id, row, attempt, sid, early, now)
  keep_copy_mark(id, row, attempt, sid, kept, is_copy, rank ~= nil)
  row[F.reason] = reason or row[F.reason] or C.ACCEPTED
  row[F.stage], row[F.message_sid] = C.ACCEPTED, sid
  row[F.accepted_attempt], row[F.ended_at] = int(attempt), int(now)
  row.has_failed = false
  redis.call('HSET', key, F.stage, C.ACCEPTED, F.message_sid, sid,
    F.accepted_attempt, row[F.accepted_attempt], F.reason, row[F.reason],
    F.ended_at, row[F.ended_at])
  redis.call('HDEL', key, F.crashes, F.error_code, F.searches, F.maybe_sent, F.charges)
  row[F.maybe_sent] = nil
  set_reply_status(id, row, status, rank)
  add_to_timeline(id, now, 'accepted', { n = attempt, sid = sid, reason = reason })
  redis.call('PEXPIRE', key, C.KEEP_ENDED_MS)
  redis.call('PEXPIRE', K.timeline(id), C.KEEP_ENDED_MS)
  local left = math.min(C.REOPEN_WITHIN_MS, (read_expiry(row[F.expires_at]) or 0) - now)
  if left > 0 then
    redis.call('PEXPIRE', K.job(id), int(left + 1))
  else
    redis.call('DEL', K.job(id))
  end
  redis.call('ZADD', K.undelivered, row[F.ended_at], id)
  count('end:accepted:' .. row[F.reason])
  if was_unknown then count('resolved:' .. row[F.reason]) end
  if kept then apply_status(id, row, kept, now, true) end
end
