-- Ends queued messages of cancelled campaigns, one campaign after another, in the order of their
-- cancels. Safe to repeat: a call goes on where the last one stopped.
-- A message that a worker holds ends with its outcome, and one that is put back ends then.
-- ARGV: how many messages it looks at.
-- Returns 1 when there is more to look at, else 0.
-- Keys: meta, campaign_sweeps, cancelled_campaigns, campaign, lane, queued, row, timeline, job,
-- unreadable, dead, counts, permits, suspects, waiting.
-- Callers: `LedgerStore.end_campaigns`, for the dispatcher.

-- include: clock, end_message, in_a_lane, int, mark_of_cancel, read_count

-- How long a cancel is remembered. No message stays queued for as long.
local KEEP_CANCEL_MS = 90 * C.DAY_MS
local FIELDS = {
  F.stage, F.cancel_asked, F.lane, F.awaited, F.crashes, F.attempt, F.person, F.enqueued_at,
}
local CLASSES = C.CLASSES
local limit = tonumber(ARGV[1])
local now = clock()

-- Whether this version can read what the end of a message in a lane rests on.
local function is_readable(row)
  return read_count(row[F.attempt] or '0')
    and (not row[F.awaited] or string.find(row[F.awaited], '|', 1, true))
end

local function end_cancelled(id)
  local got = redis.call('HMGET', K.row(id), unpack(FIELDS))
  local row = {}
  for index, name in ipairs(FIELDS) do row[name] = got[index] or nil end
  row[F.cancel_asked] = mark_of_cancel(row[F.cancel_asked], row[F.lane], row[F.enqueued_at])
  if row[F.cancel_asked] and IN_A_LANE[row[F.stage]] and is_readable(row) then
    end_message(id, row, C.CANCELLED, C.CANCELLED, nil, now)
  end
end

-- Returns behind how many messages of a lane the last call stopped: behind the message that it saw
-- last or, if that one has left or moved, in front of all that were due at the same time.
local function place_of(lane, score, id)
  if redis.call('ZSCORE', K.lane(lane), id) == score then
    return redis.call('ZRANK', K.lane(lane), id) + 1
  end
  return redis.call('ZCOUNT', K.lane(lane), '-inf', '(' .. score)
end

-- Looks at messages of the lane of a class, and returns how many, and where it stopped.
local function sweep(lane, class, score, id)
  local start = score and place_of(lane, score, id) or 0
  local found = redis.call('ZRANGE', K.lane(lane), start, start + limit - 1, 'WITHSCORES')
  for at = 1, #found, 2 do
    -- A message that cannot be ended, such as one whose timeline is of another kind, holds up none
    -- behind it. The claim that takes it ends it.
    pcall(end_cancelled, found[at])
  end
  if #found / 2 < limit then return #found / 2, int(class + 1) end
  return limit, table.concat({ int(class), found[#found], found[#found - 1] }, ' ')
end

redis.call('ZREMRANGEBYSCORE', K.cancelled_campaigns, '-inf', int(now - KEEP_CANCEL_MS))
local name = redis.call('ZRANGE', K.campaign_sweeps, 0, 0)[1]
if not name then return 0 end
local place = redis.call('HGET', K.campaign(name), F.swept_up_to) or '1'
local class, score, id = string.match(place, '^(%d) ?(%S*) ?(.*)$')
local sender, campaign = string.match(name, '^(.-)|(.*)$')
class = tonumber(class)
local seen
while class <= #CLASSES and limit > 0 do
  local lane = sender .. '|' .. CLASSES[class] .. '|' .. campaign
  seen, place = sweep(lane, class, score ~= '' and score, id)
  limit = limit - seen
  score, class = '', tonumber(string.match(place, '^%d'))
end
if class <= #CLASSES then
  redis.call('HSET', K.campaign(name), F.swept_up_to, place)
  return 1
end
redis.call('HDEL', K.campaign(name), F.swept_up_to)
redis.call('ZREM', K.campaign_sweeps, name)
return redis.call('EXISTS', K.campaign_sweeps)
