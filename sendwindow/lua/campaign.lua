-- Pauses, resumes or cancels a campaign of a sender, or only returns its state. It costs the same
-- however many messages are queued. Safe to repeat: a repeated cancel also takes in what was queued
-- since the first one.
-- It only writes what is wanted. A claim parks the lanes of a paused campaign when their turn
-- comes, and puts them back after the pause. Workers record the ends of cancelled messages.
-- ARGV: 'pause' | 'resume' | 'cancel' | 'status', sender, campaign, and for 'pause' its length (ms,
-- 0: until it is resumed).
-- Returns 1 if it changed something, else 0; until when the campaign is paused (ms, 0: it is not);
-- when it was cancelled (ms, 0: it was not); 1 while ends are still to be recorded, else 0; and how
-- many messages each of its lanes has, the most urgent first.
-- Keys: meta, campaign, parked, cancelled_campaigns, campaign_sweeps, lane, wake.
-- Callers: producers (`sendwindow.protocol.CAMPAIGN`).

-- include: clock, int, wake_claimer

local now = clock()
local action, sender, campaign, length = unpack(ARGV)
local name = sender .. '|' .. campaign
local key, parked = K.campaign(name), 'campaign|' .. name

local function pause_end()
  local ends = tonumber(redis.call('HGET', key, F.paused_until) or '0') or 0
  return ends > now and ends or 0
end

local ACTIONS = {}

function ACTIONS.pause()
  local before = pause_end()
  local ends = C.NO_END_MS
  if length ~= '0' then ends = math.floor(math.min(now + tonumber(length), C.NO_END_MS - 1)) end
  redis.call('HSET', key, F.paused_until, int(ends))
  redis.call('ZADD', K.parked, int(ends), parked)
  return before ~= ends
end

-- The next claim finds that the pause is over.
function ACTIONS.resume()
  local before = pause_end()
  redis.call('HDEL', key, F.paused_until)
  redis.call('ZADD', K.parked, 'XX', '0', parked)
  wake_claimer()
  return before > 0
end

-- A message that is enqueued after this call is not cancelled: its enqueue counts as later, even in
-- the same millisecond (`enqueue.lua`).
function ACTIONS.cancel()
  local before = tonumber(redis.call('ZSCORE', K.cancelled_campaigns, name) or '0')
  local at = int(math.max(now, before))
  redis.call('ZADD', K.cancelled_campaigns, at, name)
  redis.call('ZADD', K.campaign_sweeps, at, name)
  redis.call('HDEL', key, F.swept_up_to)
  return true
end

function ACTIONS.status()
  return false
end

local changed = ACTIONS[action]() and 1 or 0
local reply = {
  changed,
  int(pause_end()),
  redis.call('ZSCORE', K.cancelled_campaigns, name) or '0',
  redis.call('ZSCORE', K.campaign_sweeps, name) and 1 or 0,
}
for _, class in ipairs(C.CLASSES) do
  reply[#reply + 1] = redis.call('ZCARD', K.lane(sender .. '|' .. class .. '|' .. campaign))
end
return reply
