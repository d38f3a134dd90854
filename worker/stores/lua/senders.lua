-- Tells the store what names stand for: the account of each sender, the template of each ContentSid.
-- ARGV: how many senders, (sender, account) for each, then (ContentSid, template). Answers how many senders changed.
local changed = 0
local last = 1 + 2 * tonumber(ARGV[1])
for at = 2, last, 2 do
  local key = K.sender(ARGV[at])
  if redis.call('HGET', key, 'a') ~= ARGV[at + 1] then
    redis.call('HSET', key, 'a', ARGV[at + 1])
    bump(key)
    changed = changed + 1
  end
end
for at = last + 1, #ARGV, 2 do
  redis.call('HSET', K.template(ARGV[at]), 'as', ARGV[at + 1])
end
return changed
