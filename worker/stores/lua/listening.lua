-- Records that a gateway is listening to what persons write to accounts, or only reads when that
-- was last recorded.
-- ARGV: '1' to record it or '', then accounts.
-- Returns now (ms), then for each account when it was recorded before, '' for never.
-- Keys: meta.
-- Callers: `InboundCoverageStore.heard_until` (reads) and `hear` (records).

-- include: clock, int

local now = clock()
local answers = { int(now) }
for at = 2, #ARGV do
  local field = 'heard:' .. ARGV[at]
  local before = redis.call('HGET', K.meta, field)
  answers[#answers + 1] = before or ''
  -- The store's clock may have been set back. Then the later date stays, because it is true that
  -- the gateway listened.
  if ARGV[1] == '1' and (tonumber(before) or -1) < now then
    redis.call('HSET', K.meta, field, int(now))
  end
end
return answers
