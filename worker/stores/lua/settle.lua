-- Records how attempts went and applies what they taught. Repeated under the same fence, it returns
-- the same and changes nothing.
-- ARGV: for each settlement a JSON object and the rest of its timeline note. The object:
--   id, fence (text), n, posted, kind accepted|end|again|unknown, sid, status, rank, stage, reason,
--     code, due, delay, on_inbound, redecided, look, person, sender, account, template, effects.
-- Returns for each: applied (1 or 0), stage ('' when there is no such message), and 1 when it
-- proved a copy, else 0.
-- Keys: meta, row, timeline, job, sid, leases, lane, ready, timers, wake, suspects, waiting,
-- unknown, unresolved, undelivered, dead, unreadable, permits, sent_to, counts; for the effects
-- person, consents, sender, account, template, tag_state, errors_of, held.
-- Callers: `LedgerStore.settle`, for the pipeline's last step.
local LOOK_AFTER = 15000
local now = clock()

-- Closes a permit that is used up. A message that Twilio did not take does not count towards the
-- person's cap, and an attempt that was never posted does not count as a try.
-- An unproven attempt stays listed, as settled, because a message that Twilio's list shows for this
-- person may be its message.
local function close_permit(id, row, settlement)
  local attempt = row.n .. ':' .. id
  if settlement.kind == 'unknown' then
    mark_settled(row.p, attempt, now)
  else
    redis.call('ZREM', K.permits(row.p), attempt)
  end
  if settlement.kind == 'again' or settlement.kind == 'end' then
    redis.call('ZREM', K.sent_to(resolve(row.p)), attempt)
    if not settlement.posted then row.free = one_more(K.row(id), '@0') end
  end
end

local KINDS = {
  accepted = function(id, row, s)
    local reason = row.s ~= 'posting' and row.s ~= 'claimed' and 'evidence_late_reply' or nil
    accept(id, row, s.n, s.sid, s.status, reason, now, s.rank)
  end,
  ['end'] = function(id, row, s, rest)
    if row.x and not s.posted then
      -- Nothing went out under this claim, and the caller of the cancel was told that the message
      -- ends as cancelled.
      end_message(id, row, 'cancelled', 'cancelled', nil, now)
      return
    end
    end_message(id, row, s.stage, s.reason, s.code and int(s.code), now, rest)
  end,
  again = function(id, row, s, rest)
    local due = s.due or now + s.delay
    if s.redecided and not may_redecide(row, s.n, s) then
      end_message(id, row, 'failed', s.reason, s.code and int(s.code), now, rest)
      return
    end
    if s.redecided then redis.call('HSET', K.row(id), 'rd', '1') end
    if s.code then redis.call('HSET', K.row(id), 'c', int(s.code)) end
    -- A message that is put off untried for the same reason again and again would fill the
    -- timeline.
    if s.n > 0 then note_round(id, now, s.stage, rest) elseif row.r ~= s.reason then note(id, now, s.stage, rest) end
    if s.on_inbound and row.pr and row.pr ~= (redis.call('HGET', K.person(resolve(s.person)), 'r') or '0') then
      -- The person wrote while the worker decided to wait for that, so the message is decided again
      -- at once.
      due = now
    end
    requeue(id, row, s.stage, s.reason, due, now)
    if s.on_inbound and row.s == 'waiting' and due > now then
      redis.call('SADD', K.waiting(s.person, s.sender), id)
      redis.call('HSET', K.row(id), 'w', s.person .. '|' .. s.sender)
    end
  end,
  unknown = function(id, row, s, rest)
    leave(id, row)
    redis.call('HSET', K.row(id), 's', 'unknown', 'r', s.reason)
    if s.code then redis.call('HSET', K.row(id), 'c', int(s.code)) end
    redis.call('ZADD', K.unknown, int(now + lead + s.look), id)
    count('unknown')
    note(id, now, 'unknown', rest)
    row.s = 'unknown'
  end,
}

local function apply(id, row, s, rest)
  redis.call('HSET', K.row(id), 'f', '-' .. s.fence)
  if row.k then redis.call('HDEL', K.row(id), 'k', 'po') end
  if s.n > row.n then
    -- The intent was lost with a failed primary. The message was not.
    row.n = s.n
    redis.call('HSET', K.row(id), 'n', int(s.n), 'p', s.person)
    redis.call('HDEL', K.row(id), 'li')
    row.p = s.person
  end
  local was_resolved = row.s == 'unknown' or row.s == 'unresolved'
  local proof = row.s ~= 'claimed' and proof_of(row) or nil
  if row.s ~= 'claimed' then close_permit(id, row, s) end
  local who = {
    digest = s.person, sender = s.sender, account = s.account, template = s.template, intent = tonumber(row.i),
    tg = row.s ~= 'claimed' and relied_on_tag(row, row.n), id = id, attempt = s.n,
    sent = sent_of(row, s.n),
  }
  apply_effects(s.effects, who, now)
  if not (proof and row.sids[proof].n == row.n) and (s.kind == 'again' or s.kind == 'end') then
    if who.tg then land_attempt(id, row, row.n) end
    if row.s ~= 'claimed' then mark_gone(id, row, row.n) end
  end
  if s.kind ~= 'accepted' and proof then
    -- A report proved what the reply could not: the message is with Twilio.
    accept(id, row, row.sids[proof].n, proof, 'accepted', 'evidence_callback', now)
    return
  end
  KINDS[s.kind](id, row, s, rest)
  if was_resolved and s.kind ~= 'accepted' then count('resolved:evidence_late_reply') end
end

-- Whether a settlement may be applied. It may if it comes from the worker that holds the message,
-- or, after the lease was reaped, from the worker whose attempt is now unknown.
local function may_apply(row, s)
  if row.f == s.fence then return row.s == 'claimed' or (row.s == 'posting' and (s.n == 0 or s.n == row.n)) end
  return (row.s == 'unknown' or row.s == 'unresolved') and s.n > 0 and s.n == row.n and s.kind ~= 'unknown'
end

local function has_sid(row, attempt)
  if row.a == int(attempt) then return true end
  for _, line in pairs(row.sids) do
    if line.n == attempt then return true end
  end
  return false
end

-- A late settlement never reschedules the message. We keep its SID as evidence for its own attempt.
-- We also apply what it says about the person or the Page (a stop, a closed window, an address that
-- takes nothing, a dead tag), dated to that attempt. If we did not, we would learn each of these
-- only from one more POST, which may be forbidden.
-- Pauses and template states are not applied. They may be over, an operator may have ended them
-- since, and they would hold back other messages. The next POST reports them again.
local function late(id, row, s)
  if s.kind == 'accepted' then
    hear(id, row, s.n, { sid = s.sid, status = s.status, rank = s.rank - 1, effects = {} }, 'evidence_late_reply', now, true)
  end
  local who = {
    digest = s.person, sender = s.sender, account = s.account, tg = relied_on_tag(row, s.n), id = id, attempt = s.n,
    sent = sent_of(row, s.n),
  }
  if #s.effects > 0 then who.intent = intent_of(row, s.n) end
  apply_effects(s.effects, who, now, LASTING)
  -- It is proven that Twilio did not process the attempt, so the Page need not wait for it.
  if who.tg and (s.kind == 'again' or s.kind == 'end') and not has_sid(row, s.n) then land_attempt(id, row, s.n) end
end

-- Whether the SID of a reply belonged to another attempt before. Then the reply is the one to that
-- attempt's POST, received once more. A SID that only a list showed is a guess, and a reply
-- outweighs a guess.
local function is_anothers(id, s)
  local bound = redis.call('GET', K.sid(s.sid))
  if not bound or string.sub(bound, 1, 1) == '?' or bound == mark_of(id, s.n) then return false end
  local owner = load(string.match(bound, '^%d+:(.*)$'))
  return not (owner and owner.sid == s.sid and owner.r == 'evidence_list')
end

-- Such a reply says nothing about this attempt, so the worker looks for its outcome.
local function doubted(s)
  s.kind, s.reason, s.look, s.sid = 'unknown', 'outcome_unreadable', LOOK_AFTER, nil
  return '"n":' .. int(s.n) .. ',"reason":"outcome_unreadable","text":"the reply has the SID of another attempt"'
end

-- Whether this settlement proved a copy is kept with its SID, so that a repeated call returns the
-- same.
local function answer(applied, row, s)
  local line = s.kind == 'accepted' and row.sids[s.sid]
  return { applied, row.s, line and line.copied_by_reply and 1 or 0 }
end

local answers = {}
for at = 1, #ARGV, 2 do
  local s, rest = cjson.decode(ARGV[at]), ARGV[at + 1]
  local id = s.id
  local row = load(id)
  if s.kind == 'accepted' and is_anothers(id, s) then rest = doubted(s) end
  if not row then
    answers[#answers + 1] = { 0, '', 0 }
  elseif row.f == '-' .. s.fence then
    answers[#answers + 1] = answer(1, row, s)
  elseif may_apply(row, s) then
    apply(id, row, s, rest)
    answers[#answers + 1] = answer(1, row, s)
  else
    late(id, row, s)
    answers[#answers + 1] = answer(0, row, s)
  end
end
return answers
