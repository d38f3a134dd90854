-- include: add_to_timeline, begin_life, int, requeue, sid_line

-- Sends a message again because an operator asked for it: it begins another life and is decided
-- again. Its tries start at zero. The tries before are counted as free.
-- A SID that failed does not make what goes out now a copy, just as a SID whose failure began
-- another life does not.
local function send_again(id, row, reason, expires, now)
  local key = K.row(id)
  begin_life(id, row)
  for sid, line in pairs(row.sids) do
    if line.failure and not line.reopened then
      line.reopened = true
      write_sid(id, row, sid, line)
    end
  end
  redis.call('HINCRBY', K.counts, 'end:' .. row[F.stage] .. ':' .. row[F.reason], -1)
  redis.call('HDEL', key, F.ended_at, F.crashes, F.error_code, F.redecided, F.maybe_sent,
    F.is_poison)
  redis.call('HSET', key, F.expires_at, expires, F.free_attempts, int(row[F.attempt]))
  row[F.crashes], row[F.expires_at] = nil, expires
  add_to_timeline(id, now, reason, { expires = tonumber(expires) })
  requeue(id, row, C.QUEUED, reason, now, now)
end
