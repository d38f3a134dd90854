-- Records what names stand for: account and messaging service of each sender, and ContentSid of
-- each template in each language.
-- It also records when a living worker last knew each of them. Names are never removed, so only
-- that date shows which are still configured.
-- ARGV: how many senders, '1' to overwrite ('': only what is missing is written), (sender, account,
-- service or '') for each, then ('<template>|<language or nothing>', ContentSid).
-- Returns how many senders changed.
-- Keys: meta, sender, contents, template.
-- Callers: `Store.register_senders`.
local STAMP_EVERY = 60000
local now = clock()
local overwrites = ARGV[2] == '1'
local changed = 0

local function stamp(key)
  if now - (instant(redis.call('HGET', key, 'at')) or 0) >= STAMP_EVERY then redis.call('HSET', key, 'at', int(now)) end
end

local last = 2 + 3 * tonumber(ARGV[1])
for at = 3, last, 3 do
  local key, account, service = K.sender(ARGV[at]), ARGV[at + 1], ARGV[at + 2]
  local before = redis.call('HMGET', key, 'a', 'mg')
  local may_write = overwrites or not before[1]
  if may_write and (before[1] ~= account or (before[2] or '') ~= service) then
    redis.call('HSET', key, 'a', account)
    if service ~= '' then redis.call('HSET', key, 'mg', service) else redis.call('HDEL', key, 'mg') end
    bump(key)
    changed = changed + 1
  end
  -- A worker that knows the sender by another account cannot send for the registered account.
  if may_write or before[1] == account then stamp(key) end
end
for at = last + 1, #ARGV, 2 do
  redis.call(overwrites and 'HSET' or 'HSETNX', K.contents, ARGV[at], ARGV[at + 1])
  stamp(K.template(ARGV[at + 1]))
end
return changed
