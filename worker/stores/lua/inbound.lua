-- Records inbound messages: moves the window, ends what errors taught about the person, applies the
-- keyword, and releases what waited. It does so once for each MessageSid.
-- ARGV: request id, then a JSON object for each: sid, sender, account, person (its digests),
-- proven, keyword, at (ms).
-- Returns for each: first (1 or 0), the keyword if it changed something, released, person, and ms
-- until the last unsettled permit lapses (0: none).
-- Keys: meta, inbound_seen, person, consents, sent_to, suspected_stops, permits, waiting, row,
-- timeline, lane, queued, ready, marks, timers, wake, sender, counts.
-- Callers: `PeopleStore.apply_inbound`, for the gateway.

-- include: append_to_ledger, clear_suspected_stop, clock, count, distinct_digests, end_blocks
-- include: first_digest, follow_pointers, gather, heard_now, int, join_digests, open_permits
-- include: opt_in, opt_out, raise_revision, release_waiting, resume_purpose, set_purpose
-- include: stop_scope, suspect_stop

local SEEN_FOR_MS = 48 * 3600 * 1000
local now = clock()
local request = ARGV[1]

-- Records the mark of an inbound message. Returns false if the person has it already.
-- The marks of a person's last messages are kept without a term, so that a very late repetition
-- opens no window.
local function add_mark(key, sid, marks)
  local mark = string.sub(redis.sha1hex(sid), 1, C.MARK_CHARACTERS)
  for at = 1, #marks, C.MARK_CHARACTERS do
    if string.sub(marks, at, at + C.MARK_CHARACTERS - 1) == mark then return false end
  end
  local last_marks = string.sub(marks .. mark, -C.MARK_CHARACTERS * C.MAX_MARKS)
  redis.call('HSET', key, F.inbound_marks, last_marks)
  return true
end

local function move_window(key, sender, at)
  -- A date that cannot be read counts as none.
  local field = F.window .. sender
  if (tonumber(redis.call('HGET', key, field) or '') or -1) < at then
    redis.call('HSET', key, field, int(at))
  end
  raise_revision(key)
end

-- What each keyword does. Arguments: person, account, sender, the instant at which it was said or
-- nil, and the line of the ledger. Each returns whether anything changed.
local WORDS = {
  stop = function(person, account, _, said_at, line)
    line.at = said_at or heard_now(person, account, false, now)
    line.granted, line.account = false, account
    clear_suspected_stop(person, account)
    if opt_out(person, account, C.ANY, line.at, line) then count('opted_out:inbound') end
    return true
  end,
  start = function(person, account, sender, said_at, line)
    line.at = said_at or heard_now(person, account, true, now)
    line.granted, line.account = true, account
    clear_suspected_stop(person, account)
    local senders = { C.ANY, sender, stop_scope(sender) }
    if not opt_in(person, account, senders, line.at) then return false end
    append_to_ledger(person, line)
    count('opted_in:inbound')
    return true
  end,
  stop_marketing = function(person, account, _, said_at, line)
    local at = said_at or heard_now(person, account, false, now)
    clear_suspected_stop(person, account)
    set_purpose(person, account, C.MARKETING, C.ANY, false, at, nil, line)
    count('opted_out:marketing')
    return true
  end,
  start_marketing = function(person, account, _, said_at, line)
    local at = said_at or heard_now(person, account, true, now)
    clear_suspected_stop(person, account)
    if not resume_purpose(person, account, C.MARKETING, at, line) then return false end
    count('opted_in:marketing')
    return true
  end,
  suspected = function(person, account, sender, said_at, line)
    suspect_stop(person, account, sender, said_at or now, line.evidence)
    return true
  end,
}

local function apply_keyword(inbound, at)
  local apply_word = WORDS[inbound.keyword]
  if not apply_word then return '' end
  local line = { source = 'inbound', evidence = inbound.sid }
  local said_at = inbound.at and math.floor(at) or nil
  local person, account, sender = inbound.person, inbound.account, inbound.sender
  return apply_word(person, account, sender, said_at, line) and inbound.keyword or ''
end

-- Returns the digest of the person's records, the marks of the last messages from the person, and
-- every digest that the person has.
-- `proven`: digests that belong to the person because WhatsApp says so (WaId), or nil.
local function identify(names, proven)
  names = gather(names)
  local person = first_digest(names)
  local function read()
    local key = K.person(person)
    return unpack(redis.call('HMGET', key, F.moved_to, F.inbound_marks, F.other_digests))
  end
  local moved_to, marks, others = read()
  if moved_to or proven then
    person = follow_pointers(person)
    join_digests(person, proven or '')
    marks, others = select(2, read())
  end
  return person, marks or '', distinct_digests(person .. ' ' .. names, others)
end

local function apply(inbound)
  local person, marks, digests = identify(inbound.person, inbound.proven)
  inbound.person = person
  local key = K.person(person)
  local seen = redis.call('GET', K.inbound_seen(inbound.sid))
  local asked, opted, released = string.match(seen or '', '^(.-)|(.-)|(%d+)$')
  if asked then
    -- The same call, repeated after a lost reply, still counts as the first. A repeated STOP waits
    -- for open permits too.
    local is_first = asked == request and 1 or 0
    return { is_first, opted, tonumber(released), person, open_permits(digests, now) }
  end
  if not add_mark(key, inbound.sid, marks) then
    return { 0, '', 0, person, open_permits(digests, now) }
  end
  local at = math.min(inbound.at or now, now)
  move_window(key, inbound.sender, at)
  end_blocks(person, inbound.account, at, true)
  opted = apply_keyword(inbound, at)
  released = release_waiting(digests, inbound.sender, now)
  count('inbound')
  local answer = request .. '|' .. opted .. '|' .. released
  redis.call('SET', K.inbound_seen(inbound.sid), answer, 'PX', SEEN_FOR_MS)
  return { 1, opted, released, person, open_permits(digests, now) }
end

local answers = {}
for at = 2, #ARGV do
  answers[#answers + 1] = apply(cjson.decode(ARGV[at]))
end
return answers
