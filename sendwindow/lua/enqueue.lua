-- Accepts messages: writes job, row and lane in one step. Idempotent by message id, so the producer
-- may repeat a call whose reply was lost.
-- ARGV: pressure limit (0 to 100; 0: nothing is refused, because it was accepted before), then for
-- each message
--   id, payload, digest, lane, not_before (ms or ''), expires_at (ms or ''), ttl (ms after now or
--     not_before, used when expires_at is ''), on_unknown, group, and
--     '<salt> <address> <supersedes>' or ''.
-- Returns for each: {'new' | 'duplicate' | 'conflict' | 'full' (the store) | 'sender_full' |
-- 'campaign_full', enqueued_at (ms)}.
-- Keys: meta, row, job, lane, ready, marks, timers, wake, counts, queued, sender,
-- cancelled_campaigns; and, when a message supersedes another, newest, timeline, permits and
-- cancel_asked.
-- Callers: producers (`sendwindow.protocol.ENQUEUE`), and `adopt.lua`, which contains this text.

-- include: campaign_cancelled_at, campaign_of, clock, count_queued, int, put_into_lane, queue_room
-- include: sender_of, supersede

local MESSAGE_ARGUMENTS = 10
local now = clock()
local limit = tonumber(ARGV[1])
local pressure = tonumber(redis.call('HGET', K.meta, 'pressure') or '0')
local replies = {}
local added = 0
local queued = {}

-- Returns when a message counts as enqueued. What comes after the cancel of its campaign counts as
-- later, even in the same millisecond or after the clock was set back.
local function enqueue_instant(lane)
  local campaign = campaign_of(lane)
  local cancelled_at = campaign and campaign_cancelled_at(campaign)
  return cancelled_at and math.max(now, cancelled_at + 1) or now
end

-- Returns which limit keeps a new message out, nil when none does.
local function refusal(lane)
  if limit == 0 then return nil end
  if pressure >= limit then return 'full' end
  return take_room(lane)
end

for at = 2, #ARGV, MESSAGE_ARGUMENTS do
  local id, payload, digest, lane, start, ends, ttl, on_unknown, group, wish =
    unpack(ARGV, at, at + MESSAGE_ARGUMENTS - 1)
  local row = K.row(id)
  local known_digest, enqueued_at =
    unpack(redis.call('HMGET', row, F.content_digest, F.enqueued_at))
  local refused = not known_digest and refusal(lane)
  if known_digest then
    replies[#replies + 1] = { known_digest == digest and 'duplicate' or 'conflict', enqueued_at }
  elseif refused then
    replies[#replies + 1] = { refused, int(now) }
  else
    local queued_at = int(enqueue_instant(lane))
    local not_before = tonumber(start)
    local expires = tonumber(ends) or (math.max(now, not_before or 0) + tonumber(ttl))
    local fields = {
      F.stage, C.QUEUED, F.lane, lane, F.content_digest, digest, F.enqueued_at, queued_at,
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
    put_into_lane(lane, id, is_later and not_before or place, now, queued)
    if wish ~= '' then supersede(id, sender_of(lane), wish, expires, now) end
    added = added + 1
    replies[#replies + 1] = { 'new', queued_at }
  end
end
for lane, number in pairs(queued) do count_queued(lane, number) end
if added > 0 then redis.call('HINCRBY', K.counts, 'enqueued', added) end
return replies
