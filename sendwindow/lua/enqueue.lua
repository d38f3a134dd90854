-- Accepts messages: writes job, row and lane in one step. Idempotent by message id, so the producer
-- may repeat a call whose reply was lost.
-- ARGV: pressure limit (0 to 100, 0: none), then for each message
--   id, payload, digest, lane, not_before (ms or ''), expires_at (ms or ''), ttl (ms after now or
--     not_before, used when expires_at is ''), on_unknown, group.
-- Returns for each: {'new' | 'duplicate' | 'conflict' | 'full', enqueued_at (ms)}.
-- Keys: meta, row, job, lane, ready, timers, wake, counts.
-- Callers: producers (`sendwindow.protocol.ENQUEUE`), and `adopt.lua`, which contains this text.
local WIDTH = 9
local now = clock()
local limit = tonumber(ARGV[1])
local pressure = tonumber(redis.call('HGET', K.meta, 'pressure') or '0')
local replies = {}
local added = 0
for at = 2, #ARGV, WIDTH do
  local id, payload, digest, lane = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local row = K.row(id)
  local first = redis.call('HMGET', row, 'd', 'q')
  if first[1] then
    replies[#replies + 1] = { first[1] == digest and 'duplicate' or 'conflict', first[2] }
  elseif limit > 0 and pressure >= limit then
    replies[#replies + 1] = { 'full', int(now) }
  else
    local not_before = tonumber(ARGV[at + 4])
    local expires = tonumber(ARGV[at + 5]) or (math.max(now, not_before or 0) + tonumber(ARGV[at + 6]))
    local fields = { 's', 'queued', 'l', lane, 'd', digest, 'q', int(now), 'e', int(expires), 'u', ARGV[at + 7], 'n', '0' }
    if not_before then fields[#fields + 1] = 'nb'; fields[#fields + 1] = int(not_before) end
    if ARGV[at + 8] ~= '' then fields[#fields + 1] = 'g'; fields[#fields + 1] = ARGV[at + 8] end
    redis.call('HSET', row, unpack(fields))
    redis.call('SET', K.job(id), payload)
    -- Each message is due 0.25 µs after the one before it, so that the messages of one call keep
    -- their order within a millisecond.
    local later = not_before and not_before > now
    to_lane(lane, id, later and not_before or (now - 1 + at / WIDTH * 0.00025), now)
    added = added + 1
    replies[#replies + 1] = { 'new', int(now) }
  end
end
if added > 0 then redis.call('HINCRBY', K.counts, 'enqueued', added) end
return replies
