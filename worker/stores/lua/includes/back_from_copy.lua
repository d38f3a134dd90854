-- include: attempt_key, increment, mark_attempt_gone, requeue

-- Twilio has no such message, so it goes back to where the copy had it. This does not count as a
-- try.
local function back_from_copy(id, row, mark, reason, now)
  if row[F.person] then
    redis.call('ZREM', K.permits(row[F.person]), attempt_key(id, row[F.attempt]))
  end
  row.free_attempts = increment(K.row(id), F.free_attempts)
  mark_attempt_gone(id, row, row[F.attempt])
  redis.call('HDEL', K.row(id), F.restored)
  requeue(id, row, mark.stage, reason, mark.due, now)
end
