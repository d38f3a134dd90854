-- Applies status callbacks and rows of Twilio's list: binds SIDs to the attempts that they name,
-- and moves statuses forward only. Duplicates change nothing.
-- ARGV: request id, then a JSON object for each: sid, status, rank, final, failure, code, id, n
-- (the attempt), life, effects, reopen, tries, redecides, evidence. A report on an unknown SID is
-- stored as it comes, so these names are stored names.
-- Returns for each: known, moved, resolved, reopened (1 or 0); message id ('' when unknown); the
-- message id and attempt that a list had wrongly been taken to show under this SID ('' and 0:
-- none); whether the SID is a second copy, and whether it ended the message (1 or 0).
-- Keys: the same as `settle.lua`, except sent_to; and answered.
-- Callers: `StatusStore.apply`, for the gateway and for the worker's looks at Twilio's list.

-- include: accept, add_to_timeline, answer_once, apply_effects, attempt_key, clock, count, int
-- include: load_row, mark_permit_settled, other_unfailed_sid, subject_of, take_report, try_decode

local STOPS = { opt_out = true, withdraw = true }
local now = clock()

-- How many stops the reports on one SID may leave with it. They are told apart by kind and
-- evidence, and there are few kinds.
local MAX_STOPS = 4

-- Adds to a report the stops of another report on the same SID. Returns whether any was missing.
local function take_stops(report, other)
  local has, number, added = {}, 0, false
  local function name_of(effect)
    return effect.t .. '|' .. tostring(effect.sender_only) .. '|' .. tostring(effect.evidence)
  end
  for _, effect in ipairs(report.effects) do
    if STOPS[effect.t] then has[name_of(effect)], number = true, number + 1 end
  end
  for _, effect in ipairs(other.effects or {}) do
    if STOPS[effect.t] and not has[name_of(effect)] and number < MAX_STOPS then
      report.effects[#report.effects + 1] = effect
      number, added = number + 1, true
    end
  end
  return added
end

-- Keeps a report on a SID that no row is known for yet. The furthest status waits for the reply
-- that names the SID, and so does every stop, because the order of two reports must not matter to
-- consent.
local function keep(sid, before, update, text)
  local kept = before and try_decode(string.sub(before, 2))
  if kept and kept.rank >= update.rank then
    if take_stops(kept, update) then
      redis.call('SET', K.sid(sid), '?' .. cjson.encode(kept), 'PX', C.DAY_MS)
    end
    return { 0, 0, 0, 0, '', '', 0, 0, 0 }
  end
  if kept and take_stops(update, kept) then text = cjson.encode(update) end
  redis.call('SET', K.sid(sid), '?' .. text, 'PX', C.DAY_MS)
  return { 0, 1, 0, 0, '', '', 0, 0, 0 }
end

-- Whether a report is about this life of an id. An id may be used again once its row is gone, and
-- then a callback that names the earlier life is about a message that no longer exists.
-- A row stays for at least C.KEEP_ENDED_MS after its enqueue. If it was written again within that
-- time, because a failed primary lost the first, it is the same message. Half of that time leaves
-- room for clocks that differ.
local function is_of_this_life(row, update)
  if not update.life or not row[F.enqueued_at] then return true end
  return tonumber(row[F.enqueued_at]) - update.life < C.KEEP_ENDED_MS / 2
end

-- Whether the query of the callback names a message that exists.
local function is_named(update)
  local row = update.id and update.evidence == C.EVIDENCE_CALLBACK and load_row(update.id)
  return row and is_of_this_life(row, update)
end

-- Takes back that a list showed this SID for a message, when a callback names another message. The
-- query of a callback is signed together with the URL that its own POST carried, but a list only
-- showed a row that looked right.
-- The message that lost the SID becomes unknown again. If another attempt of it is proven, it
-- becomes accepted with that attempt's SID. Returns the stage, nil when nothing was taken back.
local function unbind(id, attempt, sid)
  local row = load_row(id)
  if not row or row[F.stage] ~= C.ACCEPTED or row[F.message_sid] ~= sid then return nil end
  if row[F.reason] ~= C.EVIDENCE_LIST then return nil end
  local key, permits, entry = K.row(id), K.permits(row[F.person]), attempt_key(id, attempt)
  redis.call('PERSIST', key)
  redis.call('PERSIST', K.timeline(id))
  redis.call('PERSIST', K.job(id))
  redis.call('DEL', K.sid(sid))
  redis.call('ZREM', K.undelivered, id)
  redis.call('HDEL', key, F.message_sid, F.accepted_attempt, F.status, F.status_rank,
    F.ended_at)
  redis.call('HSET', key, F.stage, C.UNKNOWN, F.reason, C.OUTCOME_TIMEOUT)
  redis.call('ZADD', K.unknown, int(now + lead), id)
  redis.call('ZADD', permits, int(now), entry)
  mark_permit_settled(row[F.person], entry, now)
  redis.call('PEXPIRE', permits, int(C.KEEP_ENDED_MS))
  redis.call('HINCRBY', K.counts, 'end:accepted:' .. row[F.reason], -1)
  count('unbound')
  add_to_timeline(id, now, 'unknown', {
    n = attempt, reason = C.OUTCOME_TIMEOUT, detail = "the SID is another message's",
  })
  local left = load_row(id)
  local other = other_unfailed_sid(left)
  if not other then return 'unknown' end
  accept(id, left, left.sids[other].n, other, 'accepted', C.EVIDENCE_CALLBACK, now)
  return 'accepted'
end

local function flag(truth)
  return truth and 1 or 0
end

local function apply(update, text)
  local found = redis.call('GET', K.sid(update.sid))
  local id, attempt = update.id, update.n
  local bound = found and string.sub(found, 1, 1) ~= '?'
  local wronged, wronged_attempt = '', 0
  if bound then
    local number, name = string.match(found, '^(%d+):(.*)$')
    local is_other = id ~= name and is_named(update)
    local stage = is_other and unbind(name, tonumber(number), update.sid)
    if not stage then
      id, attempt = name, tonumber(number)
    elseif stage == 'unknown' then
      wronged, wronged_attempt = name, tonumber(number)
    end
  end
  if not id then return keep(update.sid, found, update, text) end
  local row = load_row(id)
  if not row then return keep(update.sid, found, update, text) end
  if id == update.id and not is_of_this_life(row, update) then
    if bound then return { 0, 0, 0, 0, '', '', 0, 0, 0 } end
    return keep(update.sid, found, update, text)
  end
  local was = row[F.stage]
  attempt = attempt or row[F.attempt]
  local how, moved, reopened = take_report(id, row, attempt, update, update.evidence, now)
  -- A report on a copy, or on a message that ended, is kept and teaches, but it moves no status
  -- that is shown.
  if how == 'noted' then moved = false end
  -- A failure that comes after `delivered` moves nothing, but a stop in it still counts. It is
  -- dated by its attempt, so it counts once.
  if not moved and #update.effects > 0 then
    apply_effects(update.effects, subject_of(id, row, attempt), now, STOPS)
  end
  local resolved = how == 'accepted' and (was == C.UNKNOWN or was == C.UNRESOLVED)
  return {
    1, flag(moved), flag(resolved), flag(reopened), id, wronged, wronged_attempt,
    flag(row.is_copied), flag(how == 'accepted'),
  }
end

-- A gateway repeats a call for seconds at most, and there may be a thousand callbacks in each
-- second.
return answer_once(ARGV[1], 60000, function()
  local answers = {}
  for at = 2, #ARGV do
    answers[at - 1] = apply(cjson.decode(ARGV[at]), ARGV[at])
  end
  return answers
end)
