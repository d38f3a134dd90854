-- include: accept, add_to_timeline, apply_status, bind_sid, count, count_copy, has_other_sid
-- include: int, is_known_sid, is_open_to_proof, proof_of, record_report, set_reply_status
-- include: sid_line

-- Takes in a SID that is new to us while it cannot end the message, because the message's own
-- reply is awaited or because the message has ended.
local function take_new_sid(id, row, attempt, update, now, is_reply)
  local is_copy, early = bind_sid(id, row, attempt, update.sid, now)
  local is_awaited = row[F.stage] == C.POSTING and attempt == row[F.attempt]
  if not is_copy and not is_awaited then
    count('late_evidence')
    add_to_timeline(id, now, 'late_evidence', { n = attempt, sid = update.sid })
  end
  update.copied = is_copy and not is_reply or nil
  update.copied_by_reply = is_copy and is_reply or nil
  if early then
    early.copied, early.copied_by_reply = update.copied, update.copied_by_reply
    record_report(id, row, attempt, early, now)
  end
end

-- Handles a SID that was taken for failed and turns out to be delivered. Returns whether it ends
-- the message.
local function correct_failure(id, row, attempt, update, reason, now)
  if is_open_to_proof(row) then
    accept(id, row, attempt, update.sid, 'accepted', reason, now)
    return true
  end
  if has_other_sid(row, update.sid) then
    count_copy(id, row, attempt, update.sid, now)
    row.sids[update.sid].copied = true
    write_sid(id, row, update.sid, row.sids[update.sid])
  elseif row[F.stage] ~= C.POSTING then
    count('late_evidence')
    add_to_timeline(id, now, 'late_evidence', { n = attempt, sid = update.sid })
  end
  return false
end

-- Takes in what is said of a SID of this message, by a report or (`is_reply`) by a reply that
-- came too late to be settled.
-- `update`: sid, status, rank, effects and what else a report says. Returns how it was taken,
-- whether it moved a status, and whether another life began.
-- How it was taken: 'known' (the row's own SID), 'accepted' (it ends the message now), 'kept' (it
-- is the proof so far, while a reply is awaited) or 'noted'.
local function take_report(id, row, attempt, update, reason, now, is_reply)
  local sid = update.sid
  if row[F.stage] == C.ACCEPTED and row[F.message_sid] == sid then
    if not is_reply then return 'known', apply_status(id, row, update, now) end
    if update.rank > (tonumber(row[F.status_rank]) or -1) then
      set_reply_status(id, row, update.status, update.rank + 1)
    end
    return 'known', false, false
  end
  local is_new = not is_known_sid(id, row, attempt, sid, redis.call('GET', K.sid(sid)))
  if is_new and attempt > row[F.attempt] then
    -- The intent was lost with a failed primary. The signed report proves the attempt all the
    -- same.
    redis.call('HSET', K.row(id), F.attempt, int(attempt))
    row[F.attempt] = attempt
  end
  if is_new and is_open_to_proof(row) then
    if is_reply then
      accept(id, row, attempt, sid, update.status, reason, now, update.rank + 1)
      return 'accepted', false, false
    end
    accept(id, row, attempt, sid, 'accepted', reason, now)
    if row[F.stage] == C.ACCEPTED then return 'accepted', apply_status(id, row, update, now) end
    -- A report that came before this SID was bound began another life, so this report is about a
    -- SID that failed.
    is_new = false
  end
  local before = row.sids[sid]
  local had_failed = before ~= nil and before.reopened
  if is_new then take_new_sid(id, row, attempt, update, now, is_reply) end
  local has_moved = record_report(id, row, attempt, update, now)
  if has_moved and had_failed and correct_failure(id, row, attempt, update, reason, now) then
    return 'accepted', true, false
  end
  local is_awaited = row[F.stage] == C.POSTING and attempt == row[F.attempt]
  return is_awaited and proof_of(row) == sid and 'kept' or 'noted', has_moved, false
end
