-- Writes the intent of an attempt and grants its permit, if what the decision saw still holds.
-- Repeated for the same fence and attempt, it grants the same permit again.
-- ARGV: permit (ms), keep-out time of an unproven tag (ms), then for each request
--   id, fence, attempt, person (its digests), sender, account, ContentSid, the revisions that the
--     decision saw of person, sender, account, template and tag ('': not looked at), valid until
--     (ms), reason, policy version, cap (0: none), relies on tag ('1' or ''), listing, timeline
--     note.
-- Returns for each: {'permit'}, {'stale', now, facts}, {'later', reason, until (ms)}, {'cancelled'}
-- or {'lost'}.
-- Keys: meta, row, timeline, permits, sent_to, person, sender, account, template, tag_state; when a
-- person's digests are gathered, consents, suspected_stops and counts; for a row of an earlier
-- version sid.
-- Callers: `LedgerStore.admit`, for the pipeline's step before the POST.
local TAG_LATER = tonumber(ARGV[2])
local permit = tonumber(ARGV[1])
local now = clock()
local cache = {}

local function pause_of(key)
  if not cache[key] then cache[key] = stored(key, now) end
  local ends = tonumber(cache[key][3]) or 0
  return ends > now and ends or nil
end

local function revision(key)
  return redis.call('HGET', key, 'r') or '0'
end

-- Whether the person's cap still has room. Refusing because of the cap is up to the decision, but
-- two messages may be decided at the same time. Then the second one is decided again.
local function is_within_cap(ask)
  local cap = tonumber(ask.cap)
  return cap == 0 or redis.call('ZCOUNT', K.sent_to(ask.person), '(' .. int(now - DAY), '+inf') < cap
end

-- Whether the sender still belongs to the account that the facts were read for. Consents and stops
-- belong to an account, so the facts of another account contain none that count.
local function is_of_account(ask)
  return redis.call('HGET', K.sender(ask.sender), 'a') == ask.account
end

local function is_current(ask)
  local function same(key, seen)
    return seen == '' or revision(key) == seen
  end
  return now < tonumber(ask.valid_until)
    and is_of_account(ask)
    and same(K.person(ask.person), ask.seen_person)
    and same(K.sender(ask.sender), ask.seen_sender)
    and same(K.account(ask.account), ask.seen_account)
    and (ask.template == '' or same(K.template(ask.template), ask.seen_template))
    and same(K.tag_state(ask.sender), ask.seen_tag)
    and is_within_cap(ask)
end

-- Returns a reason to come back later that is not about this message, and when; nil when there is
-- none.
local function obstacle(ask)
  local paused = pause_of(K.account(ask.account))
  if paused then return 'account_paused', paused end
  paused = pause_of(K.sender(ask.sender))
  if paused then return 'sender_paused', paused end
  if ask.tag == '1' then
    local tag = tag_of(ask.sender, ask.id, now)
    if tag[2] ~= 'proven' and tag[3] == '1' then return 'account_update_unproven', now + TAG_LATER end
  end
end

local function grant(ask)
  local key = K.row(ask.id)
  local attempt = ask.attempt .. ':' .. ask.id
  local form = ask.tag == '1' and 'g' or ask.template ~= '' and 't' or 'f'
  local said = decoded('{' .. ask.note .. '}') or {}
  local more = (said.marketing and 'm' or '') .. (said.user_id and 'u' or '')
  redis.call('HSET', key, 's', 'posting', 'n', ask.attempt, 'p', ask.person, 'r', ask.reason, 'v', ask.policy, 'li', ask.listing,
    '@' .. ask.attempt, int(now) .. form .. ask.template .. (more ~= '' and '!' .. more or ''))
  -- The line of an attempt that led to nothing is deleted, so that a day of rounds leaves nothing
  -- in the row.
  local before = '@' .. int(tonumber(ask.attempt) - 1)
  if string.find(redis.call('HGET', key, before) or '', '^%d+%a.*%-$') then redis.call('HDEL', key, before) end
  redis.call('ZADD', K.permits(ask.person), int(math.ceil(now + permit)), attempt)
  redis.call('PEXPIRE', K.permits(ask.person), int(KEEP_ENDED))
  if tonumber(ask.cap) > 0 then
    redis.call('ZREMRANGEBYSCORE', K.sent_to(ask.person), '-inf', int(now - DAY))
    redis.call('ZADD', K.sent_to(ask.person), int(now), attempt)
    redis.call('PEXPIRE', K.sent_to(ask.person), int(DAY + 1000))
  end
  if ask.tag == '1' then
    local page = K.tag_state(ask.sender)
    if redis.call('HGET', page, 'state') ~= 'proven' then
      redis.call('HSET', page, 'message', ask.id, 'until', int(now + DAY))
      bump(page)
    end
  end
  one_more(K.sender(ask.sender), 'n')
  note(ask.id, now, 'intent', '"n":' .. ask.attempt .. (ask.note ~= '' and ',' .. ask.note or ''))
end

local NAMES = {
  'id', 'fence', 'attempt', 'person', 'sender', 'account', 'template', 'seen_person', 'seen_sender', 'seen_account',
  'seen_template', 'seen_tag', 'valid_until', 'reason', 'policy', 'cap', 'tag', 'listing', 'note',
}

local function admit(ask)
  local got = redis.call('HMGET', K.row(ask.id), 's', 'f', 'n', 'x', 'i')
  local stage, fence, last = got[1], got[2], times(got[3] or '0') or -1
  if not stage or fence ~= ask.fence then return { 'lost' } end
  if stage == 'posting' and last == tonumber(ask.attempt) then return { 'permit' } end
  if stage ~= 'claimed' or last + 1 ~= tonumber(ask.attempt) then return { 'lost' } end
  if got[4] then return { 'cancelled' } end
  -- The row was written by an earlier version: its last attempt goes into the table before this one
  -- is written.
  if got[5] then load(ask.id) end
  ask.names = gather(ask.person)
  ask.person = first_of(ask.names)
  if not is_current(ask) then
    return { 'stale', int(now), facts_of(ask.id, ask.names, ask.sender, ask.account, ask.template, now, {}) }
  end
  local reason, ends = obstacle(ask)
  if reason then return { 'later', reason, int(math.ceil(ends)) } end
  grant(ask)
  return { 'permit' }
end

local answers = {}
for at = 3, #ARGV, #NAMES do
  local ask = {}
  for index, name in ipairs(NAMES) do ask[name] = ARGV[at + index - 1] end
  answers[#answers + 1] = admit(ask)
end
return answers
