-- Records what names stand for: account and messaging service of each sender, and ContentSid of
-- each template in each language. Also the limits by which claims plan.
-- It also records when a living worker last knew each of them. Names are never removed, so only
-- that date shows which are still configured.
-- ARGV: a JSON object: overwrites (false: only what is missing is written), senders (a list of
-- sender, account, service or '', pace, and how many messages may be queued for it and for a
-- campaign of it), accounts (a list of account, pace, and how many POSTs it may have open),
-- contents (a list of '<template>|<language or nothing>' and ContentSid). A pace is interval and
-- tolerance in µs; '' means no limit.
-- Returns how many senders changed.
-- Keys: meta, sender, account, contents, template, ring, rested, parked.
-- Callers: `Store.register_senders`.

-- include: clock, int, lane_rings, leave_sender, raise_revision, read_instant, turn_rings

local STAMP_EVERY_MS = 60000
local asked = cjson.decode(ARGV[1])
local now = clock()
local changed = 0

-- Records when a living worker last knew what the key stands for.
local function stamp(key)
  local last = read_instant(redis.call('HGET', key, F.known_at)) or 0
  if now - last >= STAMP_EVERY_MS then redis.call('HSET', key, F.known_at, int(now)) end
end

-- Moves a sender with work from the rings of the account that it had into those of its own. That
-- account may be parked.
local function move_turns(name, from)
  for _, class in ipairs(C.CLASSES) do
    if redis.call('EXISTS', K.ring(lanes_of(class, name))) == 1 then
      leave_sender(class, from, name)
      enter_sender(class, name)
    end
  end
end

local function set_limit(key, field, known, limit)
  if (known or '') == limit or known and not asked.overwrites then return end
  if limit ~= '' then redis.call('HSET', key, field, limit) else redis.call('HDEL', key, field) end
end

for _, sender in ipairs(asked.senders) do
  local name, account, service, pace, most, most_in_campaign = unpack(sender)
  local key = K.sender(name)
  local known_account, known_service, known_pace = unpack(
    redis.call('HMGET', key, F.account, F.service, F.pace))
  local may_write = asked.overwrites or not known_account
  if may_write and (known_account ~= account or (known_service or '') ~= service) then
    redis.call('HSET', key, F.account, account)
    if service ~= '' then
      redis.call('HSET', key, F.service, service)
    else
      redis.call('HDEL', key, F.service)
    end
    if known_account and known_account ~= account then move_turns(name, known_account) end
    raise_revision(key)
    changed = changed + 1
  end
  set_limit(key, F.pace, known_pace, pace)
  if asked.overwrites then
    redis.call('HSET', key, F.max_queued, most, F.max_queued_in_campaign, most_in_campaign)
  elseif redis.call('HSETNX', key, F.max_queued, most) == 1 then
    redis.call('HSET', key, F.max_queued_in_campaign, most_in_campaign)
  end
  -- A worker that knows the sender by another account cannot send for the registered account.
  if may_write or known_account == account then stamp(key) end
end
for _, account in ipairs(asked.accounts) do
  local name, pace, posts = unpack(account)
  local key = K.account(name)
  local known_pace, known_posts = unpack(redis.call('HMGET', key, F.pace, F.open_posts))
  set_limit(key, F.pace, known_pace, pace)
  set_limit(key, F.open_posts, known_posts, posts)
end
for _, content in ipairs(asked.contents) do
  local name, content_sid = unpack(content)
  redis.call(asked.overwrites and 'HSET' or 'HSETNX', K.contents, name, content_sid)
  stamp(K.template(content_sid))
end
save_rings()
return changed
