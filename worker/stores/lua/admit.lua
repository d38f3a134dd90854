-- Writes the intent of an attempt and grants its permit, if what the decision saw still holds.
-- Repeated for the same fence and attempt, it grants the same permit again.
-- ARGV: permit (ms), keep-out time of an unproven tag (ms), then a JSON object for each request:
--   id, fence (text), attempt, person (its digests), sender, account, template (ContentSid), seen
--     (the revisions that the decision saw of person, sender, account, template and tag, as texts;
--     absent: not looked at), valid_until (ms), reason, policy (version), cap (0: none),
--     relies_on_tag, listing, charge (units, and of each limit that there is interval and tolerance
--     in µs: account, sender, pair; posts: how many and for how long in ms; urgent: it goes
--     before others to its person; portfolio: its name and how many people), entry (of the
--     timeline).
-- Returns for each: {'permit'}, {'stale', now, facts}, {'later', reason, until (ms)}, {'cancelled'}
-- or {'lost'}.
-- Keys: meta, row, timeline, permits, sent_to, person, sender, account, template, tag_state,
-- open_posts, account_rate, sender_rate, pair_rate, portfolio, portfolio_booked; when a person's
-- digests are gathered, consents, suspected_stops and counts; for a row of an earlier version sid.
-- Callers: `LedgerStore.admit`, for the pipeline's step before the POST.

-- include: account_of_sender, add_to_timeline, attempt_key, attempt_line, campaign_of, clock
-- include: first_digest, gather, increment, int, load_row, mark_of_cancel, open_posts, portfolio
-- include: raise_revision, rate_limits, read_count, read_facts, read_state, read_tag

local permit, tag_later = tonumber(ARGV[1]), tonumber(ARGV[2])
local now = clock()
local cache = {}

-- Whether the breaker of an account is open, so that only the message that tries may go.
local function is_cut_off(request)
  local state = cache[K.account(request.account)]
  return state.breaker_ends_at and state.probe ~= request.id
end

local function pause_of(key)
  if not cache[key] then cache[key] = read_state(key, now) end
  local ends = tonumber(cache[key][3]) or 0
  return ends > now and ends or nil
end

-- Whether the person's cap still has room. Refusing because of the cap is up to the decision, but
-- two messages may be decided at the same time. Then the second one is decided again.
local function is_within_cap(request)
  if request.cap == 0 then return true end
  local posts = redis.call('ZCOUNT', K.sent_to(request.person), '(' .. int(now - C.DAY_MS), '+inf')
  return posts < request.cap
end

-- Whether a record is unchanged since the decision saw it.
local function is_unchanged(key, seen)
  return not seen or (redis.call('HGET', key, F.revision) or '0') == seen
end

local function is_current(request)
  local seen = request.seen
  return now < request.valid_until
    -- Consents and stops belong to an account, so the facts of another account contain none that
    -- count.
    and account_of_sender(request.sender) == request.account
    and is_unchanged(K.person(request.person), seen.person)
    and is_unchanged(K.sender(request.sender), seen.sender)
    and is_unchanged(K.account(request.account), seen.account)
    and (not request.template or is_unchanged(K.template(request.template), seen.template))
    and is_unchanged(K.tag_state(request.sender), seen.tag)
    and is_within_cap(request)
end

-- Returns a reason to come back later that is not about this message, and when; nil when there is
-- none.
local function obstacle(request, campaign)
  local paused = pause_of(K.account(request.account))
  if paused then return C.ACCOUNT_PAUSED, paused end
  if is_cut_off(request) then return C.BREAKER_OPEN, now end
  paused = pause_of(K.sender(request.sender))
  if paused then return C.SENDER_PAUSED, paused end
  paused = campaign and pause_of(K.campaign(campaign))
  if paused then return C.CAMPAIGN_PAUSED, paused end
  if request.relies_on_tag then
    local _, state, in_flight = unpack(read_tag(request.sender, request.id, now))
    if state ~= C.TAG_PROVEN and in_flight == '1' then
      return C.ACCOUNT_UPDATE_UNPROVEN, now + tag_later
    end
  end
end

-- Deletes the line of the attempt before this one if it led to nothing, so that a day of rounds
-- leaves nothing in the row.
local function delete_gone_attempt(key, number)
  local field = F.table .. int(number - 1)
  if string.find(redis.call('HGET', key, field) or '', '^%d+%a.*%-$') then
    redis.call('HDEL', key, field)
  end
end

-- Records the POST, which counts towards the person's cap.
local function count_post(request, attempt)
  local key = K.sent_to(request.person)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', int(now - C.DAY_MS))
  redis.call('ZADD', key, int(now), attempt)
  redis.call('PEXPIRE', key, int(C.DAY_MS + 1000))
end

-- Records that this message is on its way and relies on the tag, while that is unproven.
local function occupy_tag(request)
  local page = K.tag_state(request.sender)
  if redis.call('HGET', page, F.state) == C.TAG_PROVEN then return end
  redis.call('HSET', page, F.tag_message, request.id, F.state_until, int(now + C.DAY_MS))
  raise_revision(page)
end

local function grant(request, limits)
  local key, permits = K.row(request.id), K.permits(request.person)
  local attempt = attempt_key(request.id, request.attempt)
  local number = int(request.attempt)
  local line = attempt_line({
    at = now,
    form = request.relies_on_tag and 'g' or request.template and 't' or 'f',
    template = request.template or '',
    marketing = request.entry.marketing,
    user_id = request.entry.user_id,
  })
  local fields = {
    F.stage, C.POSTING, F.attempt, number, F.person, request.person,
    F.reason, request.reason, F.policy, request.policy, F.listing, request.listing,
    F.table .. number, line,
  }
  local posts, charged = request.charge.posts, charge_limits(limits, request.charge.units, now)
  if posts then
    charged = charged .. take_place(posts, K.open_posts(request.account), attempt, now)
  end
  if request.charge.portfolio then
    charged = charged .. charge_portfolio(request.charge.portfolio, request.person, now)
  end
  if charged ~= '' then
    fields[#fields + 1] = F.charges
    fields[#fields + 1] = number .. charged
  end
  redis.call('HSET', key, unpack(fields))
  delete_gone_attempt(key, request.attempt)
  redis.call('ZADD', permits, int(math.ceil(now + permit)), attempt)
  redis.call('PEXPIRE', permits, int(C.KEEP_ENDED_MS))
  if request.cap > 0 then count_post(request, attempt) end
  if request.relies_on_tag then occupy_tag(request) end
  increment(K.sender(request.sender), F.admitted)
  request.entry.n = request.attempt
  add_to_timeline(request.id, now, 'intent', request.entry)
end

local function admit(request)
  local stage, fence, last, cancel_asked, old_intent, last_reason, lane, queued_at = unpack(
    redis.call('HMGET', K.row(request.id), F.stage, F.fence, F.attempt, F.cancel_asked, F.intent_at,
      F.reason, F.lane, F.enqueued_at))
  last = read_count(last or '0') or -1
  if not stage or fence ~= request.fence then return { 'lost' } end
  if stage == C.POSTING and last == request.attempt then return { 'permit' } end
  if stage ~= C.CLAIMED or last + 1 ~= request.attempt then return { 'lost' } end
  if mark_of_cancel(cancel_asked, lane, queued_at) then return { 'cancelled' } end
  -- The row was written by an earlier version: its last attempt goes into the table before this one
  -- is written.
  if old_intent then load_row(request.id) end
  local digests = gather(request.person)
  request.person = first_digest(digests)
  if not is_current(request) then
    local facts = read_facts(request.id, digests, request.sender, request.account,
      request.template or '', now, {})
    return { 'stale', int(now), facts }
  end
  local reason, ends = obstacle(request, lane and campaign_of(lane))
  if reason then return { 'later', reason, int(math.ceil(ends)) } end
  request.is_booked = last_reason == C.PAIR_RATE
  local limits = limits_of(request, now)
  reason, ends = limit_in_the_way(limits, request.charge.units, now)
  if reason then return { 'later', reason, int(math.ceil(ends)) } end
  local portfolio, posts = request.charge.portfolio, request.charge.posts
  ends = portfolio and portfolio_until(portfolio, request.person, now)
  if ends then return { 'later', C.PORTFOLIO_LIMIT, int(math.ceil(ends)) } end
  ends = posts and busy_until(posts, K.open_posts(request.account), now)
  if ends then return { 'later', C.ACCOUNT_BUSY, int(math.ceil(ends)) } end
  grant(request, limits)
  return { 'permit' }
end

local answers = {}
for at = 3, #ARGV do answers[#answers + 1] = admit(cjson.decode(ARGV[at])) end
write_limits(now)
return answers
