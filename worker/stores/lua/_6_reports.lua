-- What a row records of SIDs that are not its own, or not yet, and what the reports on them teach.
-- Each SID is bound when the first report names it.

-- No correct provider gives one message so many SIDs. If one does, the row must not grow: the
-- reports that got furthest stay.
local MAX_SIDS = 8

local PROVES_TAG = { sent = true, delivered = true, read = true }
local IS_DELIVERED = { delivered = true, read = true }

-- Only a report on an attempt that relied on the tag says anything about the Page.
local function relied_on_tag(row, n)
  local attempt = row.attempts[n]
  return attempt ~= nil and attempt.form == 'g'
end

-- Records that an attempt that relied on the tag is no longer on its way. The Page is free once
-- none of the message's attempts is.
local function land_attempt(id, row, n)
  row.attempts[n].form = 'f'
  write_attempt(id, row, n, row.attempts[n])
  for _, attempt in pairs(row.attempts) do
    if attempt.form == 'g' then return end
  end
  land_tag(sender_of(row.l), id)
end

-- Returns when an attempt's intent was written. An attempt whose line is gone gets the date of the
-- last one.
local function intent_of(row, n)
  local attempt = row.attempts[n]
  return attempt and attempt.at or tonumber(row.i)
end

-- Returns what an attempt was, as far as it matters to what its error teaches.
local function sent_of(row, n)
  local attempt = row.attempts[n] or {}
  return { marketing = attempt.marketing or false, user_id = attempt.user_id or false }
end

-- Returns whom a report on an attempt is about.
local function spoken_of(id, row, n)
  local who, attempt = who_of(row), row.attempts[n]
  who.id, who.attempt, who.sent = id, n, sent_of(row, n)
  who.template = attempt and attempt.template
  who.tg = relied_on_tag(row, n)
  who.intent = intent_of(row, n)
  return who
end

-- Applies what a status teaches about person, sender, account, template and Page. `had_failed`:
-- until now this SID was reported as failed. `only`: the kinds of effects to apply, nil for all.
local function learn(id, row, attempt, update, now, only, had_failed)
  local who = spoken_of(id, row, attempt)
  if had_failed and IS_DELIVERED[update.status] then undo_effects(id, row, attempt, who, now) end
  if update.failure then
    apply_undoably(id, row, attempt, update.effects, who, now, only)
  else
    apply_effects(update.effects, who, now, only)
  end
  if who.tg and PROVES_TAG[update.status] then
    set_tag(who.sender, 'proven', 'sent')
  elseif who.tg and update.failure then
    land_attempt(id, row, attempt)
  end
end

-- Returns the SIDs other than the row's own.
local function others_of(row)
  local found = {}
  for sid, line in pairs(row.sids) do
    if sid ~= row.sid then found[sid] = line end
  end
  return found
end

-- Returns the SID that ends the message if the reply that we wait for proves nothing. It prefers a
-- SID of the attempt in flight, then one that is not known to have failed, then the furthest. A SID
-- whose failure began another life does not qualify.
local function proof_of(row)
  local best
  local function is_better(sid, line)
    if not best then return true end
    local other = row.sids[best]
    local own, others_own = line.n == row.n, other.n == row.n
    if own ~= others_own then return own end
    if (line.failure or false) ~= (other.failure or false) then return not line.failure end
    if line.rank ~= other.rank then return line.rank > other.rank end
    return sid < best
  end
  for sid, line in pairs(others_of(row)) do
    if not line.reopened and is_better(sid, line) then best = sid end
  end
  return best
end

-- Returns the furthest of the other SIDs that are not known to have failed; nil when there is none.
local function other_standing(row)
  local best
  for sid, line in pairs(others_of(row)) do
    local rank = best and row.sids[best].rank or -2
    if not line.failure and (line.rank > rank or (line.rank == rank and sid < best)) then best = sid end
  end
  return best
end

-- Returns the SID whose line has to go to make room for one more; nil while there is room. While a
-- reply is awaited, it is never the SID that `proof_of` returns. It is never one whose failure
-- began another life either, because a repeated report on that SID must be told apart from news.
local function gives_way(row, sid, rank, attempt)
  local proof = row.s == 'posting' and proof_of(row) or nil
  local is_proof = row.s == 'posting' and attempt == row.n and not (proof and row.sids[proof].n == row.n)
  local number, least, lowest = 0, sid, is_proof and math.huge or rank
  for name, line in pairs(others_of(row)) do
    number = number + 1
    local is_less = line.rank < lowest or (line.rank == lowest and least ~= sid and name < least)
    if name ~= proof and not line.reopened and is_less then least, lowest = name, line.rank end
  end
  if number < MAX_SIDS or (is_proof and least == sid) then return nil end
  return least
end

local function let_go(id, row, rank)
  row.let_go = math.max(row.let_go, rank)
  redis.call('HSET', K.row(id), '@~', int(row.let_go))
end

-- Records a report on a SID that is not the row's, or not yet. Only the furthest report is kept,
-- and each teaches once. Returns whether it went further than what was kept.
local function remember(id, row, attempt, update, now)
  local sid, before = update.sid, row.sids[update.sid]
  if before and before.rank >= update.rank then return false end
  local gone = not before and gives_way(row, sid, update.rank, attempt)
  -- Reports on this SID may have been dropped before, so its effects may have been applied already.
  -- Then only effects apply that may be applied twice.
  local is_doubtful = not before and (gone == sid or update.rank <= row.let_go)
  learn(id, row, attempt, update, now, is_doubtful and LASTING or nil, before and before.failure)
  if gone then
    let_go(id, row, gone == sid and update.rank or row.sids[gone].rank)
    if gone == sid then return false end
    drop_sid(id, row, gone)
  end
  write_sid(id, row, sid, {
    n = attempt, rank = update.rank, status = update.status, final = update.final, failure = update.failure, code = update.code,
    reopen = update.reopen, tries = update.tries, redecides = update.redecides,
    copied = update.copied or (before and before.copied), copied_by_reply = update.copied_by_reply or (before and before.copied_by_reply),
  })
  return true
end

-- Whether this is the usual reply: of the first attempt, before any report on it.
local function is_untold(row)
  return row.s == 'posting' and row.n == 1 and next(row.sids) == nil
end

-- Whether another SID of the message is known. A SID that failed, so that the message was sent
-- again, does not count.
local function has_other(row, sid)
  if row.s == 'accepted' then return true end
  for name, line in pairs(row.sids) do
    if name ~= sid and not line.reopened then return true end
  end
  return false
end

local function is_known(id, row, attempt, sid, bound)
  return bound == mark_of(id, attempt) or row.sids[sid] ~= nil
end

-- Counts a second SID of the message: the person got it twice.
local function count_copy(id, row, attempt, sid, now)
  count('duplicates')
  row.is_copied = true
  note(id, now, 'duplicate', '"n":' .. int(attempt) .. ',"sid":' .. cjson.encode(sid))
end

-- Binds a SID to its attempt, and counts it if it is the message's second. Returns whether it is
-- the second, and the report that came before the SID was known to be this message's.
local function bind_sid(id, row, attempt, sid, now)
  local before = redis.call('GET', K.sid(sid))
  if is_known(id, row, attempt, sid, before) then return false end
  local is_copy = has_other(row, sid)
  if is_copy then count_copy(id, row, attempt, sid, now) end
  -- The attempt is proven, so it no longer rivals other attempts. The permit of a POST that is
  -- under way stays until its reply is in.
  if row.p and not (row.s == 'posting' and attempt == row.n) then redis.call('ZREM', K.permits(row.p), mark_of(id, attempt)) end
  if before and string.sub(before, 1, 1) ~= '?' then return is_copy end
  redis.call('SET', K.sid(sid), mark_of(id, attempt), 'PX', KEEP_ENDED)
  return is_copy, before and decoded(string.sub(before, 2))
end
