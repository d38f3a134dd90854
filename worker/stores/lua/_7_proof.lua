-- How a message ends as accepted, by a reply or by later proof; how its provider status moves after
-- that; and when it gets another life.

-- What other parts use. The rest stays local to the block, because a script may have 200 local
-- variables at most.
local may_redecide, reopen, accept, hear, hinders_sending, send_again

do
  local REOPEN_WITHIN = DAY

  -- Whether a message may be decided again after a closed window (63016). It may once, unless the
  -- attempt went out as a template, which needs no window.
  -- Both the reply to the POST and a report after acceptance ask here.
  -- A failed primary may have lost the attempt's line. Then only the reply says what went out
  -- (`settled`: its settlement).
  function may_redecide(row, n, settled)
    if row.rd then return false end
    local attempt = row.attempts[n]
    if attempt then return attempt.form ~= 't' end
    return settled ~= nil and (settled.template or '') == ''
  end

  -- Whether a failure that was reported after acceptance begins another life.
  local function may_reopen(id, row, update, now)
    -- Proof came after a cancel was asked for. The message did go out, and it must not go out
    -- again.
    if row.x then return false end
    -- The producer wants no second POST, whatever becomes of the first.
    if row.u == 'never' then return false end
    -- Attempts that were never posted, and those before a replay, do not count as tries.
    if update.tries and tonumber(row.a) - row.free >= update.tries then return false end
    if update.redecides and not may_redecide(row, tonumber(row.a)) then return false end
    -- A later attempt without a proven outcome may be on its way, so another attempt would be a
    -- copy. It would also be a copy if another SID is proven.
    if row.p and redis.call('ZSCORE', K.permits(row.p), mark_of(id, row.n)) then return false end
    if other_standing(row) then return false end
    if now - (instant(row.z) or 0) >= REOPEN_WITHIN or now + update.reopen >= (expiry(row.e) or 0) then return false end
    return redis.call('EXISTS', K.job(id)) == 1
  end

  -- Puts a failed message back into its lane for a new attempt. The row keeps the SID that failed,
  -- so that repeated reports on it are recognised.
  function reopen(id, row, update, now)
    local key, due = K.row(id), now + update.reopen
    begin_life(id, row)
    if update.redecides then
      row.rd = '1'
      redis.call('HSET', key, 'rd', '1')
    end
    redis.call('HINCRBY', K.counts, 'end:accepted:' .. row.r, -1)
    count('reopened')
    local before = row.sids[row.sid]
    write_sid(id, row, row.sid, {
      n = tonumber(row.a), rank = update.rank, status = update.status, final = true, failure = true, code = update.code, reopened = true,
      copied = before and before.copied, copied_by_reply = before and before.copied_by_reply,
    })
    redis.call('HDEL', key, 'sid', 'a', 'st', 'sr', 'z')
    redis.call('ZREM', K.undelivered, id)
    row.sid, row.a, row.sr, row.z = nil, nil, nil, nil
    requeue(id, row, 'retrying', 'provider_transient', due, now)
    note(id, now, 'reopened', '"due":' .. int(due))
  end

  -- Moves the status of an accepted message, forward only. `was_kept`: the report was kept before
  -- and has taught already. Returns moved, reopened.
  local function apply_update(id, row, update, now, was_kept)
    if update.rank <= (tonumber(row.sr) or -1) then return false, false end
    local key, had_failed = K.row(id), row.has_failed
    redis.call('HSET', key, 'st', update.status, 'sr', int(update.rank))
    if update.code then redis.call('HSET', key, 'c', int(update.code)) elseif had_failed then redis.call('HDEL', key, 'c') end
    row.sr, row.has_failed = update.rank, update.failure
    count('status:' .. update.status)
    note(id, now, 'status', '"status":' .. cjson.encode(update.status) .. (update.code and ',"code":' .. int(update.code) or ''))
    if not was_kept then learn(id, row, tonumber(row.a), update, now, nil, had_failed) end
    if update.failure and update.reopen and may_reopen(id, row, update, now) then
      reopen(id, row, update, now)
      return true, true
    end
    if update.final then
      redis.call('ZREM', K.undelivered, id)
      redis.call('DEL', K.job(id))
    end
    return true, false
  end

  -- Records the status that a reply gave. A report of lower rank never moves it back. One of the
  -- same rank still counts, because of its code and effects.
  local function take_status(id, row, status, rank)
    row.sr = rank and rank - 1 or -1
    redis.call('HSET', K.row(id), 'st', status, 'sr', int(row.sr))
  end

  -- Returns the report on a SID that came before its message was accepted with that SID, after
  -- applying what it teaches. From now on the row's status replaces it.
  local function early_report(id, row, attempt, sid, early, now)
    local kept = row.sids[sid]
    if kept then drop_sid(id, row, sid) end
    if not early or (kept and kept.rank >= early.rank) then return kept end
    learn(id, row, attempt, early, now, nil, kept and kept.failure)
    return early
  end

  -- Keeps with the SID whether it was counted as a copy, and whether a report or a reply showed
  -- that.
  local function keep_copy_mark(id, row, attempt, sid, kept, is_new_copy, by_reply)
    local by_report = kept and kept.copied or (is_new_copy and not by_reply) or nil
    local by_own_reply = kept and kept.copied_by_reply or (is_new_copy and by_reply) or nil
    if by_report or by_own_reply then
      write_sid(id, row, sid, { n = attempt, rank = -1, copied = by_report, copied_by_reply = by_own_reply })
    end
  end

  -- Ends a message as accepted. The job stays while a reported failure may still begin another
  -- life.
  -- `rank`: the rank of `status`, when a reply gave it. A report that came earlier is applied at
  -- once, and may begin another life.
  function accept(id, row, attempt, sid, status, reason, now, rank)
    leave(id, row)
    if row.p then redis.call('ZREM', K.permits(row.p), mark_of(id, attempt)) end
    local key = K.row(id)
    local was_unknown = row.s == 'unknown' or row.s == 'unresolved'
    local is_copy, early = bind_sid(id, row, attempt, sid, now)
    local kept = early_report(id, row, attempt, sid, early, now)
    keep_copy_mark(id, row, attempt, sid, kept, is_copy, rank ~= nil)
    row.r = reason or row.r or 'accepted'
    row.s, row.sid, row.a, row.z, row.has_failed = 'accepted', sid, int(attempt), int(now), false
    redis.call('HSET', key, 's', 'accepted', 'sid', sid, 'a', row.a, 'r', row.r, 'z', row.z)
    redis.call('HDEL', key, 'k', 'c', 'lo')
    take_status(id, row, status, rank)
    note(id, now, 'accepted', '"n":' .. row.a .. ',"sid":' .. cjson.encode(sid) .. (reason and ',"reason":"' .. reason .. '"' or ''))
    redis.call('PEXPIRE', key, KEEP_ENDED)
    redis.call('PEXPIRE', K.timeline(id), KEEP_ENDED)
    local left = math.min(REOPEN_WITHIN, (expiry(row.e) or 0) - now)
    if left > 0 then redis.call('PEXPIRE', K.job(id), int(left + 1)) else redis.call('DEL', K.job(id)) end
    redis.call('ZADD', K.undelivered, row.z, id)
    count('end:accepted:' .. row.r)
    if was_unknown then count('resolved:' .. row.r) end
    if kept then apply_update(id, row, kept, now, true) end
  end

  -- Takes in a SID that is new to us while it cannot end the message, because the message's own
  -- reply is awaited or because the message has ended.
  local function take_in(id, row, attempt, update, now, is_reply)
    local is_copy, early = bind_sid(id, row, attempt, update.sid, now)
    local is_awaited = row.s == 'posting' and attempt == row.n
    if not is_copy and not is_awaited then
      count('late_evidence')
      note(id, now, 'late_evidence', '"n":' .. int(attempt) .. ',"sid":' .. cjson.encode(update.sid))
    end
    update.copied, update.copied_by_reply = is_copy and not is_reply or nil, is_copy and is_reply or nil
    if early then
      early.copied, early.copied_by_reply = update.copied, update.copied_by_reply
      remember(id, row, attempt, early, now)
    end
  end

  -- Handles a SID that was taken for failed and turns out to be delivered. Returns whether it ends
  -- the message.
  local function revive(id, row, attempt, update, reason, now)
    if YIELDS_TO_PROOF[row.s] then
      accept(id, row, attempt, update.sid, 'accepted', reason, now)
      return true
    end
    if has_other(row, update.sid) then
      count_copy(id, row, attempt, update.sid, now)
      row.sids[update.sid].copied = true
      write_sid(id, row, update.sid, row.sids[update.sid])
    elseif row.s ~= 'posting' then
      count('late_evidence')
      note(id, now, 'late_evidence', '"n":' .. int(attempt) .. ',"sid":' .. cjson.encode(update.sid))
    end
    return false
  end

  -- Takes in what is said of a SID of this message, by a report or (`is_reply`) by a reply that
  -- came too late to be settled.
  -- `update`: sid, status, rank, effects and what else a report says. Returns how it was taken,
  -- whether it moved a status, and whether another life began.
  -- How it was taken: 'known' (the row's own SID), 'accepted' (it ends the message now), 'kept' (it
  -- is the proof so far, while a reply is awaited) or 'noted'.
  function hear(id, row, attempt, update, reason, now, is_reply)
    local sid = update.sid
    if row.s == 'accepted' and row.sid == sid then
      if not is_reply then return 'known', apply_update(id, row, update, now) end
      if update.rank > (tonumber(row.sr) or -1) then take_status(id, row, update.status, update.rank + 1) end
      return 'known', false, false
    end
    local is_new = not is_known(id, row, attempt, sid, redis.call('GET', K.sid(sid)))
    if is_new and attempt > row.n then
      -- The intent was lost with a failed primary. The signed report proves the attempt all the
      -- same.
      redis.call('HSET', K.row(id), 'n', int(attempt))
      row.n = attempt
    end
    if is_new and YIELDS_TO_PROOF[row.s] then
      accept(id, row, attempt, sid, is_reply and update.status or 'accepted', reason, now, is_reply and update.rank + 1 or nil)
      if is_reply then return 'accepted', false, false end
      if row.s == 'accepted' then return 'accepted', apply_update(id, row, update, now) end
      -- A report that came before this SID was bound began another life, so this report is about a
      -- SID that failed.
      is_new = false
    end
    local before = row.sids[sid]
    local had_failed = before ~= nil and before.reopened
    if is_new then take_in(id, row, attempt, update, now, is_reply) end
    local has_moved = remember(id, row, attempt, update, now)
    if has_moved and had_failed and revive(id, row, attempt, update, reason, now) then return 'accepted', true, false end
    return row.s == 'posting' and attempt == row.n and proof_of(row) == sid and 'kept' or 'noted', has_moved, false
  end

  -- Returns what forbids an operator to send an ended message again, nil when nothing does. The
  -- message ended otherwise than as accepted.
  function hinders_sending(id, row, even_if_sent)
    if row.x then return 'cancelled' end
    if other_standing(row) then return 'sent' end
    if (row.ps or row.r == 'never_by_rule') and not even_if_sent then return 'perhaps_sent' end
    if redis.call('EXISTS', K.job(id)) == 0 then return 'no_job' end
  end

  -- Sends a message again because an operator asked for it: it begins another life and is decided
  -- again. Its tries start at zero. The tries before are counted as free.
  -- A SID that failed does not make what goes out now a copy, just as a SID whose failure began
  -- another life does not.
  function send_again(id, row, reason, expires, now)
    local key = K.row(id)
    begin_life(id, row)
    for sid, line in pairs(row.sids) do
      if line.failure and not line.reopened then
        line.reopened = true
        write_sid(id, row, sid, line)
      end
    end
    redis.call('HINCRBY', K.counts, 'end:' .. row.s .. ':' .. row.r, -1)
    redis.call('HDEL', key, 'z', 'k', 'c', 'rd', 'ps', 'po')
    redis.call('HSET', key, 'e', expires, '@0', int(row.n))
    row.k = nil
    note(id, now, reason, '"expires":' .. expires)
    requeue(id, row, 'queued', reason, now, now)
  end
end
