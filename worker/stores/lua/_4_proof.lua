-- How a message ends as accepted, by a reply or by later proof, and how its provider status moves after that.

local REOPEN_WITHIN = DAY

local PROVES_TAG = { sent = true, delivered = true, read = true }

-- `tg` lists the attempts that relied on the tag: only what is said about one of them is said about the Page.
local function relied_on_tag(row, attempt)
  return row.tg and string.find(' ' .. row.tg .. ' ', ' ' .. int(attempt) .. ' ', 1, true) ~= nil
end

-- An attempt that relied on the tag is not on its way any more. The Page is free when none of the message's attempts is.
local function land_attempt(id, row, attempt)
  local left = {}
  for number in string.gmatch(row.tg, '%d+') do
    if tonumber(number) ~= attempt then left[#left + 1] = number end
  end
  row.tg = table.concat(left, ' ')
  if #left > 0 then
    redis.call('HSET', K.row(id), 'tg', row.tg)
  else
    redis.call('HDEL', K.row(id), 'tg')
    land_tag(sender_of(row.l), id)
  end
end

-- When an attempt's intent was written. An earlier one's is only in the timeline.
local function intent_of(id, row, attempt)
  if attempt ~= row.n then
    for _, line in ipairs(redis.call('LRANGE', K.timeline(id), 0, -1)) do
      local one = decoded(line)
      if one and one.e == 'intent' and one.n == attempt then return one.at end
    end
  end
  return tonumber(row.i)
end

-- What a status teaches about person, sender, account, template and Page.
local function learn(id, row, attempt, update, now)
  local who = who_of(id, row, update.effects)
  who.tg = relied_on_tag(row, attempt)
  who.intent = intent_of(id, row, attempt)
  apply_effects(update.effects, who, now)
  if who.tg and PROVES_TAG[update.status] then
    set_tag(who.sender, 'proven', 'sent')
  elseif who.tg and update.failure then
    land_attempt(id, row, attempt)
  end
end

-- Keeps what was learned from a callback of a SID that is not, or not yet, the row's.
local function store_kept(id, update)
  update.effects = nil
  redis.call('HSET', K.row(id), 'cb:' .. update.sid, cjson.encode(update))
end

-- Takes in a callback of such a SID: the furthest is kept, and each teaches once. Answers whether it went further.
local function remember(id, row, attempt, update, now)
  local kept = decoded(redis.call('HGET', K.row(id), 'cb:' .. update.sid) or '')
  if kept and kept.rank >= update.rank then return false end
  learn(id, row, attempt, update, now)
  store_kept(id, update)
  return true
end

-- A failed message goes back to its lane as a new attempt; the failed attempt keeps its SID so that its echoes are known.
local function reopen(id, row, update, now)
  -- 63016: the closed window allows one new decision, and none to what went out as a template, which needs no window.
  if update.redecides and (row.rd or row.fm == 't') then return false end
  -- A later attempt without a proven outcome may be on its way: another would be a copy.
  if row.p and redis.call('ZSCORE', K.permits(row.p), int(row.n) .. ':' .. id) then return false end
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
  redis.call('HSET', key, 'sid:' .. row.a, row.sid)
  store_kept(id, update)
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

-- Binds a SID to an attempt, and takes in a callback that came before anyone knew the SID.
local function bind_sid(id, row, attempt, sid, now)
  local before = redis.call('GET', K.sid(sid))
  if before and string.sub(before, 1, 1) ~= '?' then return end
  redis.call('SET', K.sid(sid), int(attempt) .. ':' .. id, 'PX', KEEP_ENDED)
  local update = before and decoded(string.sub(before, 2))
  if update then remember(id, row, attempt, update, now) end
end

-- Two SIDs of one message: the person got it twice.
local function note_duplicate(id, attempt, sid, now)
  redis.call('HSET', K.row(id), 'sid:' .. int(attempt), sid)
  count('duplicates')
  note(id, now, 'duplicate', '"n":' .. int(attempt) .. ',"sid":' .. cjson.encode(sid))
end

-- Ends a message as accepted. The job stays while an asynchronous failure may still reopen the message.
-- `rank`: of a status that a reply told, which a callback of lower rank never moves back; the same one still counts.
-- A callback that came before is applied at once, and may reopen it.
local function accept(id, row, attempt, sid, status, reason, now, rank)
  leave(id, row)
  if row.p then redis.call('ZREM', K.permits(row.p), int(attempt) .. ':' .. id) end
  local key = K.row(id)
  local was_unknown = row.s == 'unknown' or row.s == 'unresolved'
  bind_sid(id, row, attempt, sid, now)
  if row.ev and row.ev ~= int(attempt) .. ':' .. sid then
    local other, others_sid = string.match(row.ev, '^(%d+):(.*)$')
    note_duplicate(id, tonumber(other), others_sid, now)
  end
  local kept = decoded(redis.call('HGET', key, 'cb:' .. sid) or '')
  row.r = reason or row.r or 'accepted'
  row.s, row.sid, row.a, row.z, row.sr = 'accepted', sid, int(attempt), int(now), rank and rank - 1
  redis.call('HSET', key, 's', 'accepted', 'sid', sid, 'a', row.a, 'r', row.r, 'z', row.z, 'st', status)
  redis.call('HDEL', key, 'x', 'k', 'c', 'ev', 'cb:' .. sid, 'lo', 'sr')
  if row.sr then redis.call('HSET', key, 'sr', int(row.sr)) end
  row.ev, row.x = nil, nil
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

-- Proof while a reply is awaited: should the reply prove nothing, the attempt in flight counts first.
local function prove_posting(id, row, attempt, sid, now)
  local mark = int(attempt) .. ':' .. sid
  local is_own = attempt == row.n
  local other, others_sid = string.match(row.ev or '', '^(%d+):(.*)$')
  if other and not (is_own and tonumber(other) ~= row.n) then
    note_duplicate(id, attempt, sid, now)
    return 'noted'
  end
  redis.call('HSET', K.row(id), 'ev', mark)
  row.ev = mark
  if other then note_duplicate(id, tonumber(other), others_sid, now) end
  if is_own then return 'kept' end
  count('late_evidence')
  note(id, now, 'late_evidence', '"n":' .. int(attempt) .. ',"sid":' .. cjson.encode(sid))
  return 'noted'
end

-- A SID proves that Twilio accepted an attempt. Answers 'known' (the row has this SID), 'accepted' (it ends the message now),
-- 'kept' (its own reply is still awaited) or 'noted' (another attempt is under way or the message ended otherwise).
local function prove(id, row, attempt, sid, status, reason, now, rank)
  if row.s == 'accepted' and row.sid == sid then return 'known' end
  if row.ev == int(attempt) .. ':' .. sid then return row.s == 'posting' and attempt == row.n and 'kept' or 'noted' end
  local key = K.row(id)
  if redis.call('HGET', key, 'sid:' .. int(attempt)) == sid then return 'noted' end
  if redis.call('GET', K.sid(sid)) == int(attempt) .. ':' .. id then return 'noted' end
  if attempt > row.n then
    -- The intent was lost with a failed primary; the signed callback proves the attempt all the same.
    redis.call('HSET', key, 'n', int(attempt))
    row.n = attempt
  end
  if YIELDS_TO_PROOF[row.s] then
    accept(id, row, attempt, sid, status, reason, now, rank)
    return 'accepted'
  end
  bind_sid(id, row, attempt, sid, now)
  if row.s == 'posting' then return prove_posting(id, row, attempt, sid, now) end
  if row.s == 'accepted' then
    note_duplicate(id, attempt, sid, now)
    return 'noted'
  end
  redis.call('HSET', key, 'sid:' .. int(attempt), sid)
  count('late_evidence')
  note(id, now, 'late_evidence', '"n":' .. int(attempt) .. ',"sid":' .. cjson.encode(sid))
  return 'noted'
end
