-- Records how attempts went and applies what they taught. Repeated under the same fence, it changes
-- nothing, and returns the same until the message is claimed again.
-- ARGV: a JSON object for each settlement: id, fence (text), attempt (0: none), posted, kind
-- accepted|end|again|unknown, answered (whether Twilio answered a POST; absent: it says nothing),
-- sid, status, rank, stage, reason, code, due (ms), delay (ms), on_inbound, redecided, keeps_place,
-- look_after (ms), person, sender, account, template, effects, entry (of the timeline; accepted
-- attempts have none).
-- Returns for each: applied (1 or 0), stage ('' when there is no such message), 1 when it proved a
-- copy, else 0; and when it changed the breaker of its account, 'opened' or 'closed', and for how
-- long it was open (ms).
-- Keys: meta, row, timeline, job, sid, leases, lane, queued, ready, marks, timers, expiring,
-- expiries, wake, suspects, waiting, unknown, unresolved, undelivered, dead, unreadable, permits,
-- sent_to, counts, open_posts; for limits account_rate, sender_rate, pair_rate, portfolio and
-- parked; for the effects person, consents, sender, account, template, tag_state, errors_of, held.
-- Callers: `LedgerStore.settle`, for the pipeline's last step.

-- include: accept, add_round_to_timeline, add_to_timeline, apply_effects, attempt_key, clock, count
-- include: end_message, follow_pointers, free_tag_of_attempt, give_back_charges, increment, int
-- include: intent_of, lasting_effects, leave_place, load_row, mark_attempt_gone
-- include: mark_permit_settled, may_redecide, note_answer, places_left, planned_rates, proof_of
-- include: read_instant, read_state, relied_on_tag, remove_from_place, requeue, return_plans
-- include: sent_of, take_report

-- `lead`, from `clock`, is how far due times run ahead of a store clock that was set back.
-- When to look for evidence of an attempt whose reply says nothing about it.
local LOOK_AFTER_MS = 15000
local now = clock()

-- Closes a permit that is used up. A message that Twilio did not take does not count towards the
-- person's cap, and an attempt that was never posted does not count as a try.
-- An unproven attempt stays listed, as settled, because a message that Twilio's list shows for this
-- person may be its message.
local function close_permit(id, row, settlement)
  local person, attempt = row[F.person], attempt_key(id, row[F.attempt])
  if settlement.kind == 'unknown' then
    mark_permit_settled(person, attempt, now)
  else
    redis.call('ZREM', K.permits(person), attempt)
  end
  leave_place(id, row, settlement.account, now)
  if settlement.kind == 'again' or settlement.kind == 'end' then
    redis.call('ZREM', K.sent_to(follow_pointers(person)), attempt)
    if not settlement.posted then
      row.free_attempts = increment(K.row(id), F.free_attempts)
      give_back_charges(id, row, settlement.sender, settlement.account, now)
    end
  end
end

-- Whether the person wrote while the worker decided to wait for that.
local function has_written_meanwhile(row, settlement)
  if not settlement.on_inbound or not row[F.claimed_revision] then return false end
  local key = K.person(follow_pointers(settlement.person))
  return row[F.claimed_revision] ~= (redis.call('HGET', key, F.revision) or '0')
end

local PAUSES = { [C.SENDER_PAUSED] = true, [C.ACCOUNT_PAUSED] = true }

local RATES = { [C.SENDER_RATE] = 'sender', [C.ACCOUNT_RATE] = 'account' }

-- Whether claims wait for a limit that turned a message away. They do not if the worker that
-- registered the limit last knows a higher one.
local function is_planned(reason, settlement)
  if reason == C.ACCOUNT_BUSY then
    local most = redis.call('HGET', K.account(settlement.account), F.open_posts)
    return (places_left(settlement.account, most, now) or 1) <= 0
  end
  local kind = RATES[reason]
  local plan = kind and registered_plan(kind, settlement[kind], now)
  return plan and room_in(plan) == 0
end

-- Whether the sender or its account is paused. Then it is parked, or the next claim parks it.
local function is_paused(settlement)
  local account = settlement.account or ''
  for _, key in ipairs({ K.sender(settlement.sender), account ~= '' and K.account(account) or nil })
  do
    if (tonumber(read_state(key, now)[3]) or 0) > now then return true end
  end
  return false
end

-- Whether a settled message uses up nothing of what its claim planned: no POST of it began. What
-- had expired was not planned, and what a rate limit turned away was planned too early.
local function is_returned(settlement)
  return not settlement.posted and settlement.stage ~= C.EXPIRED
    and not RATES[settlement.reason]
end

-- What each kind of outcome does.
local KINDS = {}

function KINDS.accepted(id, row, settlement)
  local is_late = row[F.stage] ~= C.POSTING and row[F.stage] ~= C.CLAIMED
  local reason = is_late and C.EVIDENCE_LATE_REPLY or nil
  accept(id, row, settlement.attempt, settlement.sid, settlement.status, reason, now,
    settlement.rank)
end

KINDS['end'] = function(id, row, settlement)
  if row[F.cancel_asked] and not settlement.posted then
    -- Nothing went out under this claim, and the caller of the cancel was told that the message
    -- ends as cancelled.
    end_message(id, row, C.CANCELLED, C.CANCELLED, nil, now)
    return
  end
  local code = settlement.code and int(settlement.code)
  end_message(id, row, settlement.stage, settlement.reason, code, now, settlement.entry)
end

function KINDS.again(id, row, settlement)
  local stage, reason, entry = settlement.stage, settlement.reason, settlement.entry
  local due = settlement.due or now + settlement.delay
  local code = settlement.code and int(settlement.code)
  if settlement.redecided and not may_redecide(row, settlement.attempt, settlement) then
    end_message(id, row, C.FAILED, reason, code, now, entry)
    return
  end
  if settlement.redecided then redis.call('HSET', K.row(id), F.redecided, '1') end
  if code then redis.call('HSET', K.row(id), F.error_code, code) end
  -- A message that is put off untried for the same reason again and again would fill the
  -- timeline.
  if settlement.attempt > 0 then
    add_round_to_timeline(id, now, stage, entry)
  elseif row[F.reason] ~= reason then
    add_to_timeline(id, now, stage, entry)
  end
  if settlement.keeps_place or reason == C.CAMPAIGN_PAUSED or is_planned(reason, settlement)
    or (PAUSES[reason] and is_paused(settlement)) then
    -- It keeps its place, and goes as soon as what held it up has turns again.
    due = math.min(now, (read_instant(row[F.enqueued_at]) or now) - 1)
  end
  -- If the person wrote meanwhile, the message is decided again at once.
  if has_written_meanwhile(row, settlement) then due = now end
  requeue(id, row, stage, reason, due, now)
  if settlement.on_inbound and row[F.stage] == C.WAITING and due > now then
    redis.call('SADD', K.waiting(settlement.person, settlement.sender), id)
    redis.call('HSET', K.row(id), F.awaited, settlement.person .. '|' .. settlement.sender)
  end
end

function KINDS.unknown(id, row, settlement)
  remove_from_place(id, row)
  redis.call('HSET', K.row(id), F.stage, C.UNKNOWN, F.reason, settlement.reason)
  if settlement.code then
    redis.call('HSET', K.row(id), F.error_code, int(settlement.code))
  end
  redis.call('ZADD', K.unknown, int(now + lead + settlement.look_after), id)
  count('unknown')
  add_to_timeline(id, now, 'unknown', settlement.entry)
  row[F.stage] = C.UNKNOWN
end

-- A `-` before the fence says that its holder has settled, so that a repeat is recognised. A `~`
-- says that the holder gave the message back (`release.lua`), and `0` that its lease ran out.
local function apply(id, row, settlement)
  local attempt, kind = settlement.attempt, settlement.kind
  redis.call('HSET', K.row(id), F.fence, '-' .. settlement.fence)
  if row[F.crashes] then redis.call('HDEL', K.row(id), F.crashes, F.is_poison) end
  if attempt > row[F.attempt] then
    -- The intent was lost with a failed primary. The message was not.
    row[F.attempt], row[F.person] = attempt, settlement.person
    redis.call('HSET', K.row(id), F.attempt, int(attempt), F.person, settlement.person)
    redis.call('HDEL', K.row(id), F.listing)
  end
  local was_unproven = row[F.stage] == C.UNKNOWN or row[F.stage] == C.UNRESOLVED
  local had_permit = row[F.stage] ~= C.CLAIMED
  local last = row[F.attempt]
  local proof = had_permit and proof_of(row) or nil
  if had_permit then close_permit(id, row, settlement) end
  local who = {
    digest = settlement.person,
    sender = settlement.sender,
    account = settlement.account,
    template = settlement.template,
    intent = tonumber(row.last_intent),
    relied_on_tag = had_permit and relied_on_tag(row, last),
    id = id,
    attempt = attempt,
    sent = sent_of(row, attempt),
  }
  apply_effects(settlement.effects, who, now)
  settlement.breaker, settlement.open_ms = note_answer(settlement, now)
  local is_proven = proof and row.sids[proof].n == last
  if not is_proven and (kind == 'again' or kind == 'end') then
    if is_returned(settlement) then return_to_plan(settlement.sender, settlement.account or '') end
    if who.relied_on_tag then free_tag_of_attempt(id, row, last) end
    if had_permit then mark_attempt_gone(id, row, last) end
  end
  if kind ~= 'accepted' and proof then
    -- A report proved what the reply could not: the message is with Twilio.
    accept(id, row, row.sids[proof].n, proof, 'accepted', C.EVIDENCE_CALLBACK, now)
    return
  end
  KINDS[kind](id, row, settlement)
  if was_unproven and kind ~= 'accepted' then count('resolved:' .. C.EVIDENCE_LATE_REPLY) end
end

-- Whether a settlement may be applied. It may if it comes from the worker that holds the message,
-- or, after the lease was reaped, from the worker whose attempt is now unknown.
local function may_apply(row, settlement)
  local stage, attempt = row[F.stage], settlement.attempt
  local is_last = attempt == row[F.attempt]
  if row[F.fence] == settlement.fence then
    return stage == C.CLAIMED or (stage == C.POSTING and (attempt == 0 or is_last))
  end
  local is_unproven = stage == C.UNKNOWN or stage == C.UNRESOLVED
  return is_unproven and attempt > 0 and is_last and settlement.kind ~= 'unknown'
end

local function has_sid(row, attempt)
  if row[F.accepted_attempt] == int(attempt) then return true end
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
local function apply_late(id, row, settlement)
  local attempt, kind = settlement.attempt, settlement.kind
  if kind == 'accepted' then
    take_report(id, row, attempt, {
      sid = settlement.sid,
      status = settlement.status,
      rank = settlement.rank - 1,
      effects = {},
    }, C.EVIDENCE_LATE_REPLY, now, true)
  end
  local who = {
    digest = settlement.person,
    sender = settlement.sender,
    account = settlement.account,
    relied_on_tag = relied_on_tag(row, attempt),
    id = id,
    attempt = attempt,
    sent = sent_of(row, attempt),
  }
  if #settlement.effects > 0 then who.intent = intent_of(row, attempt) end
  apply_effects(settlement.effects, who, now, LASTING_EFFECTS)
  -- It is proven that Twilio did not process the attempt, so the Page need not wait for it.
  local is_over = kind == 'again' or kind == 'end'
  if who.relied_on_tag and is_over and not has_sid(row, attempt) then
    free_tag_of_attempt(id, row, attempt)
  end
end

-- Whether the SID of a reply belonged to another attempt before. Then the reply is the one to that
-- attempt's POST, received once more. A SID that only a list showed is a guess, and a reply
-- outweighs a guess.
local function is_of_another(settlement)
  local sid = settlement.sid
  local bound = redis.call('GET', K.sid(sid))
  if not bound or string.sub(bound, 1, 1) == '?' then return false end
  if bound == attempt_key(settlement.id, settlement.attempt) then return false end
  local owner = load_row(string.match(bound, '^%d+:(.*)$'))
  return not (owner and owner[F.message_sid] == sid and owner[F.reason] == C.EVIDENCE_LIST)
end

-- Such a reply says nothing about this attempt, so the worker looks for its outcome.
local function make_unknown(settlement)
  settlement.kind, settlement.sid = 'unknown', nil
  settlement.reason, settlement.look_after = C.OUTCOME_UNREADABLE, LOOK_AFTER_MS
  settlement.entry = {
    n = settlement.attempt,
    reason = C.OUTCOME_UNREADABLE,
    text = 'the reply has the SID of another attempt',
  }
end

-- Whether this settlement proved a copy is kept with its SID, so that a repeated call returns the
-- same.
local function answer(applied, row, settlement)
  local line = settlement.kind == 'accepted' and row.sids[settlement.sid]
  local has_copy = line and line.copied_by_reply and 1 or 0
  if not settlement.breaker then return { applied, row[F.stage], has_copy } end
  return { applied, row[F.stage], has_copy, settlement.breaker, int(settlement.open_ms) }
end

local function settle(settlement)
  local row = load_row(settlement.id)
  if settlement.kind == 'accepted' and is_of_another(settlement) then make_unknown(settlement) end
  if not row then return { 0, '', 0 } end
  if row[F.fence] == '-' .. settlement.fence then return answer(1, row, settlement) end
  if may_apply(row, settlement) then
    apply(settlement.id, row, settlement)
    return answer(1, row, settlement)
  end
  apply_late(settlement.id, row, settlement)
  return answer(0, row, settlement)
end

local answers = {}
for at = 1, #ARGV do answers[at] = settle(cjson.decode(ARGV[at])) end
write_returned_plans(now)
return answers
