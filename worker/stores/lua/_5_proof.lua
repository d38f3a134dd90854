-- How a message ends as accepted, by a reply or by later proof, and how its provider status moves after that.

local REOPEN_WITHIN = DAY

-- A failed message goes back to its lane as a new attempt; the failed attempt keeps its SID so that its echoes are known.
local function reopen(id, row, update, now)
  -- Proof came after cancel was asked for: it did go out, and that must stay the last of it.
  if row.x then return false end
  -- Attempts that were never posted, and those before a replay, are no tries.
  if update.tries and tonumber(row.a) - tonumber(row.fa or '0') >= update.tries then return false end
  -- 63016: the closed window allows one new decision, and none to what went out as a template, which needs no window.
  if update.redecides and (row.rd or row.fm == 't') then return false end
  -- A later attempt without a proven outcome may be on its way: another would be a copy. So would it beside one that is proven.
  if row.p and redis.call('ZSCORE', K.permits(row.p), mark_of(id, row.n)) then return false end
  if other_standing(id) then return false end
  local ends = now + update.reopen
  if now - tonumber(row.z) >= REOPEN_WITHIN or ends >= tonumber(row.e) then return false end
  if redis.call('EXISTS', K.job(id)) == 0 then return false end
  local key = K.row(id)
  redis.call('PERSIST', key)
  redis.call('PERSIST', K.timeline(id))
  redis.call('PERSIST', K.job(id))
  if update.redecides then redis.call('HSET', key, 'rd', '1') end
  redis.call('HINCRBY', K.counts, 'end:accepted:' .. row.r, -1)
  count('reopened')
  set_aside(id, row.a, row.sid)
  keep_callback(id, row.sid, update, true)
  redis.call('HDEL', key, 'sid', 'a', 'st', 'sr', 'z')
  redis.call('ZREM', K.undelivered, id)
  requeue(id, row, 'retrying', 'provider_transient', ends, now)
  note(id, now, 'reopened', '"due":' .. int(ends))
  return true
end

-- Moves the status of an accepted message, forward only. What was kept has taught before. Answers moved, reopened.
local function apply_update(id, row, update, now, was_kept)
  if update.rank <= (tonumber(row.sr) or -1) then return false, false end
  local key = K.row(id)
  redis.call('HSET', key, 'st', update.status, 'sr', int(update.rank))
  if update.code then redis.call('HSET', key, 'c', int(update.code)) end
  row.sr = update.rank
  count('status:' .. update.status)
  note(id, now, 'status', '"status":' .. cjson.encode(update.status) .. (update.code and ',"code":' .. int(update.code) or ''))
  if not was_kept then learn(id, row, tonumber(row.a), update, now) end
  if update.failure and update.reopen and reopen(id, row, update, now) then return true, true end
  if update.final then
    redis.call('ZREM', K.undelivered, id)
    redis.call('DEL', K.job(id))
  end
  return true, false
end

-- What a reply says the status is. A callback of lower rank never moves it back; one of the same rank still counts, for its code and effects.
local function take_status(id, row, status, rank)
  row.sr = rank and rank - 1 or -1
  redis.call('HSET', K.row(id), 'st', status, 'sr', int(row.sr))
end

-- The callback of a SID that came before its message was accepted with it, taught. From now on the row's status says it.
local function early_callback(id, row, attempt, sid, early, now)
  local kept
  if not is_untold(row) then
    local key, field = K.row(id), 'sid:' .. int(attempt)
    local got = redis.call('HMGET', key, 'cb:' .. sid, field)
    kept = got[1] and decoded(got[1])
    if got[1] then redis.call('HDEL', key, 'cb:' .. sid) end
    if got[2] == sid then redis.call('HDEL', key, field) end
  end
  if not early or (kept and kept.rank >= early.rank) then return kept end
  learn(id, row, attempt, early, now)
  return early
end

-- Ends a message as accepted. The job stays while an asynchronous failure may still reopen the message.
-- `rank`: that of `status`, when a reply told it. A callback that came before is applied at once, and may reopen it.
local function accept(id, row, attempt, sid, status, reason, now, rank)
  leave(id, row)
  if row.p then redis.call('ZREM', K.permits(row.p), mark_of(id, attempt)) end
  local key = K.row(id)
  local was_unknown = row.s == 'unknown' or row.s == 'unresolved'
  local _, early = bind_sid(id, row, attempt, sid, now)
  local kept = early_callback(id, row, attempt, sid, early, now)
  local other, others_sid = string.match(row.ev or '', '^(%d+):(.*)$')
  if other and others_sid ~= sid then set_aside(id, other, others_sid) end
  row.r = reason or row.r or 'accepted'
  row.s, row.sid, row.a, row.z = 'accepted', sid, int(attempt), int(now)
  redis.call('HSET', key, 's', 'accepted', 'sid', sid, 'a', row.a, 'r', row.r, 'z', row.z)
  redis.call('HDEL', key, 'k', 'c', 'ev', 'lo')
  take_status(id, row, status, rank)
  row.ev = nil
  note(id, now, 'accepted', '"n":' .. row.a .. ',"sid":' .. cjson.encode(sid) .. (reason and ',"reason":"' .. reason .. '"' or ''))
  redis.call('PEXPIRE', key, KEEP_ENDED)
  redis.call('PEXPIRE', K.timeline(id), KEEP_ENDED)
  local left = math.min(REOPEN_WITHIN, tonumber(row.e) - now)
  if left > 0 then redis.call('PEXPIRE', K.job(id), int(left + 1)) else redis.call('DEL', K.job(id)) end
  redis.call('ZADD', K.undelivered, row.z, id)
  count('end:accepted:' .. row.r)
  if was_unknown then count('resolved:' .. row.r) end
  if kept then apply_update(id, row, kept, now, true) end
end

-- Proof while a reply is awaited: should the reply prove nothing, the attempt in flight counts first. Answers whether it is that one's.
local function hold_proof(id, row, attempt, sid)
  local is_own = attempt == row.n
  local other, others_sid = string.match(row.ev or '', '^(%d+):(.*)$')
  if other and (tonumber(other) == row.n or not is_own) then
    set_aside(id, attempt, sid)
    return false
  end
  if other then set_aside(id, other, others_sid) end
  row.ev = int(attempt) .. ':' .. sid
  redis.call('HSET', K.row(id), 'ev', row.ev)
  return is_own
end

-- A reply's status, told while another reply is awaited, is kept like a callback's, for the case that its SID becomes the row's.
local function keep_reply(id, row, attempt, sid, status, rank, now)
  if not rank or row.s ~= 'posting' then return end
  remember(id, row, attempt, { sid = sid, status = status, rank = rank - 1, effects = {} }, now)
end

-- A SID proves that Twilio accepted an attempt. Answers 'known' (the row has this SID), 'accepted' (it ends the message now),
-- 'kept' (its own reply is still awaited) or 'noted' (another attempt is under way or the message ended otherwise).
local function prove(id, row, attempt, sid, status, reason, now, rank)
  if row.s == 'accepted' and row.sid == sid then
    if rank and rank - 1 > (tonumber(row.sr) or -1) then take_status(id, row, status, rank) end
    return 'known'
  end
  if is_known(id, row, attempt, sid, redis.call('GET', K.sid(sid))) then
    keep_reply(id, row, attempt, sid, status, rank, now)
    return attempt == row.n and row.ev == int(attempt) .. ':' .. sid and 'kept' or 'noted'
  end
  if attempt > row.n then
    -- The intent was lost with a failed primary; the signed callback proves the attempt all the same.
    redis.call('HSET', K.row(id), 'n', int(attempt))
    row.n = attempt
  end
  if YIELDS_TO_PROOF[row.s] then
    accept(id, row, attempt, sid, status, reason, now, rank)
    return 'accepted'
  end
  local is_copy, early = bind_sid(id, row, attempt, sid, now)
  local is_awaited = false
  if row.s == 'posting' then is_awaited = hold_proof(id, row, attempt, sid) else set_aside(id, attempt, sid) end
  if not is_copy and not is_awaited then
    count('late_evidence')
    note(id, now, 'late_evidence', '"n":' .. int(attempt) .. ',"sid":' .. cjson.encode(sid))
  end
  if early then remember(id, row, attempt, early, now) end
  keep_reply(id, row, attempt, sid, status, rank, now)
  return is_awaited and 'kept' or 'noted'
end
