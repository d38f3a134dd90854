-- include: add_to_timeline, apply_report_effects, count, int, reopen_message

-- Moves the status of an accepted message, forward only. `was_kept`: the report was kept before
-- and has taught already. Returns moved, reopened.
local function apply_status(id, row, update, now, was_kept)
  if update.rank <= (tonumber(row[F.status_rank]) or -1) then return false, false end
  local key, had_failed = K.row(id), row.has_failed
  redis.call('HSET', key, F.status, update.status, F.status_rank, int(update.rank))
  if update.code then
    redis.call('HSET', key, F.error_code, int(update.code))
  elseif had_failed then
    redis.call('HDEL', key, F.error_code)
  end
  row[F.status_rank], row.has_failed = update.rank, update.failure
  count('status:' .. update.status)
  add_to_timeline(id, now, 'status', { status = update.status, code = update.code })
  if not was_kept then
    local attempt = tonumber(row[F.accepted_attempt])
    apply_report_effects(id, row, attempt, update, now, nil, had_failed)
  end
  if update.failure and update.reopen and may_reopen(id, row, update, now) then
    reopen_message(id, row, update, now)
    return true, true
  end
  if update.final then
    redis.call('ZREM', K.undelivered, id)
    redis.call('DEL', K.job(id))
  end
  return true, false
end
