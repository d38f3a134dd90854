-- include: add_to_timeline, count_unproven, expire_ended, int, remove_from_place

-- Ends a message in another way than by acceptance. A dead letter keeps its job and stays until an
-- operator decides. One that was asked to be cancelled is never sent again, so there is nothing to
-- decide.
-- `entry`: the members of its timeline entry, nil for the reason alone. The entry is written first,
-- so that the timeline gets its term together with the row.
local function end_message(id, row, stage, reason, code, now, entry)
  if reason == C.CANCELLED and redis.call('HEXISTS', K.row(id), F.superseded_by) == 1 then
    reason, entry = C.SUPERSEDED, nil
  end
  remove_from_place(id, row)
  add_to_timeline(id, now, stage, entry or { reason = reason })
  local key = K.row(id)
  local fields = { F.stage, stage, F.reason, reason, F.ended_at, int(now) }
  if row[F.cancel_asked] then
    -- A message that was cancelled with its campaign has no mark of its own yet.
    fields[#fields + 1] = F.cancel_asked
    fields[#fields + 1] = '1'
  end
  redis.call('HSET', key, unpack(fields))
  if code then redis.call('HSET', key, F.error_code, code) end
  if count_unproven(id, row) > 0 then redis.call('HSET', key, F.maybe_sent, '1') end
  -- The mark of the cancel stays, so that no replay and no retry sends the message after a cancel.
  redis.call('HDEL', key, F.crashes, F.claimed_revision, F.searches, F.charges)
  redis.call('HINCRBY', K.counts, 'end:' .. stage .. ':' .. reason, 1)
  row[F.stage] = stage
  if stage == C.DEAD and not row[F.cancel_asked] then
    redis.call('ZADD', K.dead, int(now), id)
  else
    expire_ended(id, row)
  end
end
