-- Records that a gateway listens to what persons write to accounts, or only reads when one did last.
-- ARGV: '1' to record it or '', then accounts.
-- Answers now (ms), then for each account when it was recorded before, '' for never.
local now = clock()
local answers = { int(now) }
for at = 2, #ARGV do
  local field = 'heard:' .. ARGV[at]
  local before = redis.call('HGET', K.meta, field)
  answers[#answers + 1] = before or ''
  -- The store's clock may have been set back: what was heard once stays heard.
  if ARGV[1] == '1' and (tonumber(before) or -1) < now then
    redis.call('HSET', K.meta, field, int(now))
  end
end
return answers
