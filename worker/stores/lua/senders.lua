-- Tells the store what names stand for: account and messaging service of each sender, ContentSid of each template in each language.
-- ARGV: how many senders, (sender, account, service or '') for each, then ('<template>|<language or nothing>', ContentSid).
-- Answers how many senders changed.
local changed = 0
local last = 1 + 3 * tonumber(ARGV[1])
for at = 2, last, 3 do
  local key, account, service = K.sender(ARGV[at]), ARGV[at + 1], ARGV[at + 2]
  local before = redis.call('HMGET', key, 'a', 'mg')
  if before[1] ~= account or (before[2] or '') ~= service then
    redis.call('HSET', key, 'a', account)
    if service ~= '' then redis.call('HSET', key, 'mg', service) else redis.call('HDEL', key, 'mg') end
    bump(key)
    changed = changed + 1
  end
end
for at = last + 1, #ARGV, 2 do
  redis.call('HSET', K.contents, ARGV[at], ARGV[at + 1])
  -- Its revision says that it is configured somewhere, whatever name a message has for it.
  redis.call('HSETNX', K.template(ARGV[at + 1]), 'r', '1')
end
return changed
