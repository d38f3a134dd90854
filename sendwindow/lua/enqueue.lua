-- Accepts messages: writes job, row and lane in one step. Idempotent by message id, so the producer
-- may repeat a call whose reply was lost.
-- ARGV: pressure limit (0 to 100, 0: none), then for each message
--   id, payload, digest, lane, not_before (ms or ''), expires_at (ms or ''), ttl (ms after now or
--     not_before, used when expires_at is ''), on_unknown, group.
-- Returns for each: {'new' | 'duplicate' | 'conflict' | 'full', enqueued_at (ms)}.
-- Keys: meta, row, job, lane, ready, marks, timers, wake, counts.
-- Callers: producers (`sendwindow.protocol.ENQUEUE`), and `adopt.lua`, which contains this text.

-- include: clock, int, put_into_lane

local MESSAGE_ARGUMENTS = 9
local now = clock()
local limit = tonumber(ARGV[1])
local pressure = tonumber(redis.call('HGET', K.meta, 'pressure') or '0')
local replies = {}
local added = 0
for at = 2, #ARGV, MESSAGE_ARGUMENTS do
  local id, payload, digest, lane, start, ends, ttl, on_unknown, group =
    unpack(ARGV, at, at + MESSAGE_ARGUMENTS - 1)
  local row = K.row(id)
  local known_digest, enqueued_at =
    unpack(redis.call('HMGET', row, F.content_digest, F.enqueued_at))
  if known_digest then
    replies[#replies + 1] = { known_digest == digest and 'duplicate' or 'conflict', enqueued_at }
  elseif limit > 0 and pressure >= limit then
    replies[#replies + 1] = { 'full', int(now) }
  else
    local not_before = tonumber(start)
    local expires = tonumber(ends) or (math.max(now, not_before or 0) + tonumber(ttl))
    local fields = {
      F.stage, C.QUEUED, F.lane, lane, F.content_digest, digest, F.enqueued_at, int(now),
      F.expires_at, int(expires), F.on_unknown, on_unknown, F.attempt, '0',
    }
    if not_before then
      fields[#fields + 1] = F.not_before
      fields[#fields + 1] = int(not_before)
    end
    if group ~= '' then
      fields[#fields + 1] = F.group
      fields[#fields + 1] = group
    end
    redis.call('HSET', row, unpack(fields))
    redis.call('SET', K.job(id), payload)
    -- Each message is due 0.25 µs after the one before it, so that the messages of one call keep
    -- their order within a millisecond.
    local is_later = not_before and not_before > now
    local place = now - 1 + at / MESSAGE_ARGUMENTS * 0.00025
    put_into_lane(lane, id, is_later and not_before or place, now)
    added = added + 1
    replies[#replies + 1] = { 'new', int(now) }
  end
end
if added > 0 then redis.call('HINCRBY', K.counts, 'enqueued', added) end
return replies
