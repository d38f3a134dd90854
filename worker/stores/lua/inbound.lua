-- Records inbound messages: moves the window, ends what errors taught about the person, applies the
-- keyword, and releases what waited. It does so once for each MessageSid.
-- ARGV: request id, then a JSON object for each: sid, sender, account, person (its digests),
-- proven, keyword, at (ms).
-- Returns for each: first (1 or 0), the keyword if it changed something, released, person, and ms
-- until the last unsettled permit lapses (0: none).
-- Keys: meta, inbound_seen, person, consents, sent_to, suspected_stops, permits, waiting, row,
-- timeline, lane, ready, timers, wake, sender, counts.
-- Callers: `PeopleStore.apply_inbound`, for the gateway.
local SEEN_FOR = 48 * 3600 * 1000
local now = clock()
local request = ARGV[1]

-- The marks of a person's last messages are kept without a term, so that a very late repetition
-- opens no window.
local function remember(key, sid, marks)
  local mark = string.sub(redis.sha1hex(sid), 1, MARK)
  for at = 1, #marks, MARK do
    if string.sub(marks, at, at + MARK - 1) == mark then return false end
  end
  redis.call('HSET', key, 'in', string.sub(marks .. mark, -MARK * REMEMBERED))
  return true
end

local function move_window(key, sender, at)
  -- A date that cannot be read counts as none.
  if (tonumber(redis.call('HGET', key, 'w:' .. sender) or '') or -1) < at then
    redis.call('HSET', key, 'w:' .. sender, int(at))
  end
  bump(key)
end

-- What each keyword does. Arguments: person, account, sender, the instant at which it was said or
-- nil, and the line of the ledger. Each returns whether anything changed.
local WORDS = {
  stop = function(person, account, sender, said_at, line)
    line.at, line.granted, line.account = said_at or heard_now(person, account, false, now), false, account
    unsuspect(person, account)
    if opt_out(person, account, '*', line.at, line) then count('opted_out:inbound') end
    return true
  end,
  start = function(person, account, sender, said_at, line)
    line.at, line.granted, line.account = said_at or heard_now(person, account, true, now), true, account
    unsuspect(person, account)
    if not opt_in(person, account, { '*', sender, stop_scope(sender) }, line.at) then return false end
    ledger(person, line)
    count('opted_in:inbound')
    return true
  end,
  stop_marketing = function(person, account, sender, said_at, line)
    local at = said_at or heard_now(person, account, false, now)
    unsuspect(person, account)
    say_purpose(person, account, 'marketing', '*', false, at, nil, line)
    count('opted_out:marketing')
    return true
  end,
  start_marketing = function(person, account, sender, said_at, line)
    local at = said_at or heard_now(person, account, true, now)
    unsuspect(person, account)
    if not resume_purpose(person, account, 'marketing', at, line) then return false end
    count('opted_in:marketing')
    return true
  end,
  suspected = function(person, account, sender, said_at, line)
    suspect(person, account, sender, said_at or now, line.evidence)
    return true
  end,
}

local function apply_keyword(inbound, at)
  local apply_word = WORDS[inbound.keyword]
  if not apply_word then return '' end
  local line = { source = 'inbound', evidence = inbound.sid }
  local said_at = inbound.at and math.floor(at) or nil
  return apply_word(inbound.person, inbound.account, inbound.sender, said_at, line) and inbound.keyword or ''
end

-- Returns the digest of the person's records, the marks of the last messages from the person, and
-- every digest that the person has.
-- `proven`: digests that belong to the person because WhatsApp says so (WaId), or nil.
local function identify(names, proven)
  names = gather(names)
  local person = first_of(names)
  local got = redis.call('HMGET', K.person(person), 'to', 'in', 'sp')
  if got[1] or proven then
    person = resolve(person)
    join(person, proven or '')
    got = redis.call('HMGET', K.person(person), 'to', 'in', 'sp')
  end
  return person, got[2] or '', all_of(person .. ' ' .. names, got[3])
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
    return { asked == request and 1 or 0, opted, tonumber(released), person, open_permits(digests, now) }
  end
  if not remember(key, inbound.sid, marks) then return { 0, '', 0, person, open_permits(digests, now) } end
  local at = math.min(inbound.at or now, now)
  move_window(key, inbound.sender, at)
  lift(person, inbound.account, at, true)
  local opted = apply_keyword(inbound, at)
  local released = release_all(digests, inbound.sender, now)
  count('inbound')
  redis.call('SET', K.inbound_seen(inbound.sid), request .. '|' .. opted .. '|' .. released, 'PX', SEEN_FOR)
  return { 1, opted, released, person, open_permits(digests, now) }
end

local answers = {}
for at = 2, #ARGV do
  answers[#answers + 1] = apply(cjson.decode(ARGV[at]))
end
return answers
