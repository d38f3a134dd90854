-- Takes the unknown attempts that are most urgent among those whose search for evidence is due.
-- They are ordered by purpose, then by what expires next, and accounts take turns. It returns none
-- of them again before the given time. All attempts in one reply are of one urgency and account.
-- `K.unknown` says when a search is due. What is due first moves, in steps, into the queue of its
-- urgency and account.
-- ARGV: a JSON object: limit, again_after (ms), passed_over (a list of accounts).
-- Returns now, 1 when the same call would find more at once, then for each: id, attempt, intent,
-- on_unknown, expires, payload, looks before, reason, person, form, listing, poison (1 or 0), how
-- many of its attempts are in doubt, ContentSid ('' for none), account, restored at (ms, '' for
-- not), and 0 when it was not posted before the copy.
-- Keys: meta, unknown, search, searches, searching, rings, row, job, sender, permits.
-- Callers: `UnknownStore.due`, for the unknown search.

-- include: account_of_sender, clock, count_unproven, increment, int, load_row, message_of
-- include: read_expiry, read_instant, restored_mark, rings, sender_of, set_of

local URGENCIES = {
  authentication = '1', reply = '2', account_update = '3', utility = '4', marketing = '5',
}
local FIRST, LAST = '1', '5'
-- What a turn costs. While marketing waits too, login codes get 16 of 17 turns.
local COSTS = { ['1'] = 1 / 16, ['2'] = 1 / 4, ['3'] = 1 / 4, ['4'] = 1 / 4, ['5'] = 1 }
-- A queue that was lost, or that an older worker does not know, is built again after this (ms).
local MADE_AGAIN_MS = 600000
local asked = cjson.decode(ARGV[1])
local passed_over = set_of(asked.passed_over)
local now = clock()

local function enter_search(id, row)
  local message = message_of(redis.call('GET', K.job(id)))
  local urgency = message and URGENCIES[message.purpose] or LAST
  local account = account_of_sender(sender_of(row[F.lane]))
  redis.call('ZADD', K.search(urgency, account), int(read_expiry(row[F.expires_at]) or now), id)
  ring_enter(K.searching(urgency), account, 0)
  -- A login code does not wait for what was served before it came.
  ring_enter(K.searches, urgency, urgency == FIRST and 0 or COSTS[urgency])
  redis.call('ZADD', K.unknown, int(now + lead + MADE_AGAIN_MS), id)
end

-- Returns whether there may be more.
local function enter_due()
  local oldest = { K.unknown, '-inf', int(now + lead), 'LIMIT', 0, C.MAX_RING_MOVES }
  local due = redis.call('ZRANGEBYSCORE', unpack(oldest))
  for _, id in ipairs(due) do
    local row = load_row(id)
    if row and row[F.stage] == C.UNKNOWN then
      enter_search(id, row)
    else
      redis.call('ZREM', K.unknown, id)
    end
  end
  return #due == C.MAX_RING_MOVES
end

-- Returns the urgency and the account whose turn it is.
local function next_search()
  local account
  local urgency = ring_next(K.searches, function(each)
    local is_passed_over
    account = ring_next(K.searching(each), function(name)
      if redis.call('ZCARD', K.search(each, name)) == 0 then return nil end
      if passed_over[name] then is_passed_over = true end
      return not passed_over[name]
    end)
    if account then return true end
    return is_passed_over and false or nil
  end)
  if not urgency then return nil end
  ring_charge(K.searches, urgency, COSTS[urgency])
  ring_charge(K.searching(urgency), account, 1)
  return urgency, account
end

-- Returns the ContentSid that the last attempt sent, '' for none.
local function content_sent(row)
  local attempt = row.attempts[row[F.attempt]]
  return attempt and attempt.template or ''
end

local function hand_out(id, row, account)
  redis.call('ZADD', K.unknown, int(now + lead + asked.again_after), id)
  local mark = restored_mark(id, row)
  local looks = increment(K.row(id), F.searches) - 1
  local enqueued_at = read_instant(row[F.enqueued_at]) and row[F.enqueued_at]
  return {
    id,
    row[F.attempt],
    row.last_intent or enqueued_at or int(now),
    row[F.on_unknown],
    read_expiry(row[F.expires_at]) and row[F.expires_at] or int(now),
    redis.call('GET', K.job(id)),
    looks,
    row[F.reason] or '',
    row[F.person] or '',
    row.last_form or '',
    redis.call('HGET', K.row(id), F.listing) or '',
    row[F.is_poison] and 1 or 0,
    count_unproven(id, row),
    content_sent(row),
    account,
    mark and int(mark.at) or '',
    mark and not mark.is_posted and 0 or 1,
  }
end

-- A message leaves `K.unknown` when it leaves the stage, but it leaves its queue only when its turn
-- comes.
local function take(urgency, account)
  local taken = {}
  for _, id in ipairs(redis.call('ZRANGE', K.search(urgency, account), 0, asked.limit - 1)) do
    redis.call('ZREM', K.search(urgency, account), id)
    local row = load_row(id)
    if row and row[F.stage] == C.UNKNOWN then
      taken[#taken + 1] = hand_out(id, row, account)
    else
      redis.call('ZREM', K.unknown, id)
    end
  end
  return taken
end

-- Everything that is due moves first, so that the most urgent is among it.
if enter_due() then return { int(now), 1, {} } end
local urgency, account = next_search()
if not urgency then return { int(now), 0, {} } end
return { int(now), 1, take(urgency, account) }
