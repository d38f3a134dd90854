-- A person wrote: moves the window, applies STOP and START, releases what waited. Once for each MessageSid.
-- ARGV: request id, then a JSON object for each: sid, sender, account, person, keyword, at (ms).
-- Answers for each: first (1 or 0), 'stop' | 'start' | '', released, person, ms until the last unsettled permit lapses (0: none).
local SEEN_FOR = 48 * 3600 * 1000
local REMEMBERED = 32
local MARK = 12
local now = clock()
local request = ARGV[1]

-- The last messages of a person are remembered for good, so that a very late repetition opens no window.
local function remember(key, sid)
  local marks = redis.call('HGET', key, 'in') or ''
  local mark = string.sub(redis.sha1hex(sid), 1, MARK)
  for at = 1, #marks, MARK do
    if string.sub(marks, at, at + MARK - 1) == mark then return false end
  end
  redis.call('HSET', key, 'in', string.sub(marks .. mark, -MARK * REMEMBERED))
  return true
end

local function move_window(key, sender, at)
  if tonumber(redis.call('HGET', key, 'w:' .. sender) or '-1') < at then
    redis.call('HSET', key, 'w:' .. sender, int(at))
  end
  bump(key)
end

local function apply_keyword(inbound, at)
  if inbound.keyword ~= 'stop' and inbound.keyword ~= 'start' then return '' end
  local person, account = inbound.person, inbound.account
  at = inbound.at and math.floor(at) or heard_now(person, account, inbound.keyword == 'start', now)
  local line = { at = at, account = account, source = 'inbound', evidence = inbound.sid }
  if inbound.keyword == 'stop' then
    line.granted = false
    if opt_out(person, account, '*', at, line) then count('opted_out:inbound') end
    return 'stop'
  elseif opt_in(person, account, { '*', inbound.sender, stop_scope(inbound.sender) }, at) then
    line.granted = true
    ledger(person, line)
    count('opted_in:inbound')
    return 'start'
  end
  return ''
end

local function release(person, sender)
  local key = K.waiting(person, sender)
  local released = 0
  for _, id in ipairs(redis.call('SMEMBERS', key)) do
    local got = redis.call('HMGET', K.row(id), 's', 'l')
    if got[1] == 'waiting' then
      -- Without the reason of the wait: should it wait again for the same, that is a decision of its own.
      redis.call('HDEL', K.row(id), 'w', 'r')
      note(id, now, 'released')
      to_lane(got[2], id, now, now)
      released = released + 1
    end
  end
  redis.call('DEL', key)
  return released
end

local function apply(inbound)
  local person = resolve(inbound.person)
  inbound.person = person
  local key = K.person(person)
  local seen = redis.call('GET', K.inbound_seen(inbound.sid))
  if seen then
    local asked, opted, released = string.match(seen, '^(.-)|(.-)|(%d+)$')
    -- The same call again after a lost reply is still the first; whoever repeats a STOP waits for open permits too.
    return { asked == request and 1 or 0, opted, tonumber(released), person, permits_left(person, now) }
  end
  if not remember(key, inbound.sid) then return { 0, '', 0, person, permits_left(person, now) } end
  local at = math.min(inbound.at or now, now)
  move_window(key, inbound.sender, at)
  local opted = apply_keyword(inbound, at)
  local released = release(person, inbound.sender)
  count('inbound')
  redis.call('SET', K.inbound_seen(inbound.sid), request .. '|' .. opted .. '|' .. released, 'PX', SEEN_FOR)
  return { 1, opted, released, person, permits_left(person, now) }
end

local answers = {}
for at = 2, #ARGV do
  answers[#answers + 1] = apply(cjson.decode(ARGV[at]))
end
return answers
