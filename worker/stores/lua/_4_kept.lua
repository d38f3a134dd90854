-- What is kept of SIDs that are not, or not yet, a row's, and what their callbacks teach. Each is bound when it is first heard of.

-- No honest provider gives one message so many SIDs. One that does must not make a row grow: the callbacks that got furthest stay.
local MOST_SIDS = 8

local PROVES_TAG = { sent = true, delivered = true, read = true }

local function mark_of(id, attempt)
  return int(attempt) .. ':' .. id
end

-- `tg` lists the attempts that relied on the tag: only what is said about one of them is said about the Page.
local function relied_on_tag(row, attempt)
  return row.tg and string.find(' ' .. row.tg .. ' ', ' ' .. int(attempt) .. ' ', 1, true) ~= nil
end

-- An attempt that relied on the tag is not on its way any more. The Page is free when none of the message's attempts is.
local function land_attempt(id, row, attempt)
  local left = {}
  for number in string.gmatch(row.tg, '%d+') do
    if tonumber(number) ~= attempt then left[#left + 1] = number end
  end
  row.tg = #left > 0 and table.concat(left, ' ') or nil
  if row.tg then
    redis.call('HSET', K.row(id), 'tg', row.tg)
  else
    redis.call('HDEL', K.row(id), 'tg')
    land_tag(sender_of(row.l), id)
  end
end

-- When an attempt's intent was written. An earlier one's is only in the timeline.
local function intent_of(id, row, attempt)
  return attempt ~= row.n and intent_note(id, attempt).at or tonumber(row.i)
end

-- The ContentSid that an attempt sent: by now another may be configured.
local function template_sent(id, attempt, effects)
  for _, effect in ipairs(effects) do
    if effect.t == 'template' then return intent_note(id, attempt).template end
  end
end

-- What a callback's error teaches. `only`: kinds of effects, nil for all. Answers whom it is about.
local function teach(id, row, attempt, effects, now, only)
  local who = who_of(row)
  who.template = template_sent(id, attempt, effects)
  who.tg = relied_on_tag(row, attempt)
  who.intent = intent_of(id, row, attempt)
  who.id, who.attempt = id, attempt
  apply_effects(effects, who, now, only)
  return who
end

-- What a status teaches about person, sender, account, template and Page.
local function learn(id, row, attempt, update, now, only)
  local who = teach(id, row, attempt, update.effects, now, only)
  if who.tg and PROVES_TAG[update.status] then
    set_tag(who.sender, 'proven', 'sent')
  elseif who.tg and update.failure then
    land_attempt(id, row, attempt)
  end
end

-- Of a row's other SIDs: the callback of each, one SID for each attempt, and the rank up to which callbacks were let go.
local function kept_of(id)
  local callbacks, aside, let_go = {}, {}, -1
  local fields = redis.call('HGETALL', K.row(id))
  for at = 1, #fields, 2 do
    local kind, name = string.match(fields[at], '^(%a+):(.*)$')
    if kind == 'sid' then
      aside[name] = fields[at + 1]
    elseif kind == 'cb' and name == '' then
      let_go = tonumber(fields[at + 1])
    elseif kind == 'cb' then
      callbacks[name] = decoded(fields[at + 1])
    end
  end
  return callbacks, aside, let_go
end

-- What it taught is not kept: it is taught once, when it comes.
local function keep_callback(id, sid, update, is_reopened)
  local kept = {
    status = update.status, rank = update.rank, final = update.final, failure = update.failure, code = update.code,
    reopen = update.reopen, tries = update.tries, redecides = update.redecides, reopened = is_reopened,
  }
  redis.call('HSET', K.row(id), 'cb:' .. sid, cjson.encode(kept))
end

-- The SID whose callback has to go so that one more finds room; nil while there is room. Never that of the proof at hand.
local function gives_way(row, callbacks, sid, rank)
  local proof = string.match(row.ev or '', '^%d+:(.*)$')
  local count, least, lowest = 0, sid, sid == proof and math.huge or rank
  for name, one in pairs(callbacks) do
    count = count + 1
    local is_less = one.rank < lowest or (one.rank == lowest and least ~= sid and name < least)
    if name ~= proof and is_less then least, lowest = name, one.rank end
  end
  return count >= MOST_SIDS and least or nil
end

-- Takes in a callback of a SID that is not, or not yet, the row's: the furthest is kept, and each teaches once.
-- Answers whether it went further than what is kept.
local function remember(id, row, attempt, update, now)
  local callbacks, _, let_go = kept_of(id)
  local sid = update.sid
  local before = callbacks[sid]
  if before and before.rank >= update.rank then return false end
  local gone = not before and gives_way(row, callbacks, sid, update.rank)
  -- A SID whose callbacks were let go has perhaps taught this before: then only what may be said twice.
  local is_doubtful = not before and (gone == sid or update.rank <= let_go)
  learn(id, row, attempt, update, now, is_doubtful and LASTING or nil)
  if gone then
    local rank = gone == sid and update.rank or callbacks[gone].rank
    redis.call('HSET', K.row(id), 'cb:', int(math.max(let_go, rank)))
    redis.call('HDEL', K.row(id), 'cb:' .. gone)
  end
  if gone == sid then return false end
  keep_callback(id, sid, update)
  return true
end

-- Lists a SID beside the row's own: the first of each attempt, as far as there is room.
local function set_aside(id, attempt, sid)
  local _, aside = kept_of(id)
  local listed = 0
  for _ in pairs(aside) do listed = listed + 1 end
  if listed < MOST_SIDS then redis.call('HSETNX', K.row(id), 'sid:' .. int(attempt), sid) end
end

-- The furthest of the other SIDs that is not known to have failed; nil when there is none.
local function other_standing(id)
  local callbacks, aside = kept_of(id)
  for _, sid in pairs(aside) do callbacks[sid] = callbacks[sid] or { rank = 0 } end
  local best
  for sid, one in pairs(callbacks) do
    local rank = best and callbacks[best].rank or -1
    if not one.failure and (one.rank > rank or (one.rank == rank and sid < best)) then best = sid end
  end
  return best
end

-- The first attempt, and nothing said of it yet: the usual reply, which costs no look at the row.
local function is_untold(row)
  return row.s == 'posting' and row.n == 1 and not row.ev
end

-- Whether another SID of the message is known. One that failed and was sent again for that is none.
local function has_other(id, row)
  if is_untold(row) then return false end
  if row.s == 'accepted' or row.ev then return true end
  local callbacks, aside = kept_of(id)
  for _, sid in pairs(aside) do
    if not (callbacks[sid] and callbacks[sid].reopened) then return true end
  end
  return false
end

local function is_known(id, row, attempt, sid, bound)
  if row.ev == int(attempt) .. ':' .. sid or bound == mark_of(id, attempt) then return true end
  if is_untold(row) then return false end
  -- The name of a SID is kept for a while only, a message that is not finished longer.
  local got = redis.call('HMGET', K.row(id), 'sid:' .. int(attempt), 'cb:' .. sid)
  return got[1] == sid or got[2] ~= false
end

-- Binds a SID to its attempt, and counts a second SID of the message: the person got it twice.
-- Answers whether it is one, and the callback that came before anyone knew whose it was.
local function bind_sid(id, row, attempt, sid, now)
  local before = redis.call('GET', K.sid(sid))
  if is_known(id, row, attempt, sid, before) then return false end
  local is_copy = has_other(id, row)
  if is_copy then
    count('duplicates')
    row.is_copied = true
    note(id, now, 'duplicate', '"n":' .. int(attempt) .. ',"sid":' .. cjson.encode(sid))
  end
  -- Proven, it is nobody's rival any more. The permit of a POST under way stays until its reply is in.
  if row.p and not (row.s == 'posting' and attempt == row.n) then redis.call('ZREM', K.permits(row.p), mark_of(id, attempt)) end
  if before and string.sub(before, 1, 1) ~= '?' then return is_copy end
  redis.call('SET', K.sid(sid), mark_of(id, attempt), 'PX', KEEP_ENDED)
  return is_copy, before and decoded(string.sub(before, 2))
end
