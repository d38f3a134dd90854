-- What every script shares: the store's clock, a message's timeline, the way into a lane, and the
-- end of a message.
-- KEYS[1] is the partition's meta key. The table K, which is generated before this text, derives
-- every other key inside the same hash tag.

local WAKE_CAP = 64

-- How far due times, leases and searches run ahead of the store's clock (ms). It is 0 unless that
-- clock was once set back. Then the lead makes sure that what was due stays due, and that no
-- message waits longer than it was meant to.
local lead = 0

-- Returns the store's clock in milliseconds. The fraction (microseconds) keeps first come, first
-- served inside one millisecond.
-- Only a sandbox store has an offset: the script that writes `offset_ms` checks the profile.
-- Every script calls this before it writes, so this is the place to refuse a store with another
-- layout.
local function clock()
  local time = redis.call('TIME')
  local kept = redis.call('HMGET', K.meta, 'offset_ms', 'schema', 'lead_ms')
  if kept[2] and kept[2] ~= tostring(SCHEMA) then
    error(redis.error_reply('SCHEMA this release knows the layout ' .. SCHEMA .. ' only'))
  end
  lead = tonumber(kept[3] or '0') or 0
  return time[1] * 1000 + time[2] / 1000 + (tonumber(kept[1] or '0') or 0)
end

-- Returns a number as a decimal string without exponent. `..` would round above 14 digits.
local function int(number)
  return string.format('%.0f', math.floor(number))
end

-- A timeline keeps its first and its last lines. One line counts the lines between them.
local MAX_LINES = 64
local FIRST_LINES = 16

local function note(id, now, name, rest)
  local line = '{"at":' .. int(now) .. ',"e":"' .. name .. '"' .. (rest and rest ~= '' and (',' .. rest) or '') .. '}'
  local key = K.timeline(id)
  if redis.call('RPUSH', key, line) <= MAX_LINES then return end
  local at, number = string.match(redis.call('LINDEX', key, FIRST_LINES), '^{"at":(%d+),"e":"left_out","lines":(%d+)}$')
  if not at then at, number = string.match(redis.call('LINDEX', key, FIRST_LINES), '^{"at":(%d+)'), 1 end
  redis.call('LSET', key, FIRST_LINES + 1, '')
  redis.call('LREM', key, 1, '')
  redis.call('LSET', key, FIRST_LINES, '{"at":' .. at .. ',"e":"left_out","lines":' .. int(number + 1) .. '}')
end

local function wake()
  redis.call('LPUSH', K.wake, '1')
  redis.call('LTRIM', K.wake, 0, WAKE_CAP - 1)
end

-- Adds a lane to `ready` at the lowest virtual time there, so that a lane that comes back has
-- neither saved up turns nor lost any. Returns false when the lane was there already.
local function enter_ready(lane)
  if redis.call('ZSCORE', K.ready, lane) then return false end
  local first = redis.call('ZRANGE', K.ready, 0, 0, 'WITHSCORES')
  local start = first[2] or redis.call('HGET', K.meta, 'vtime') or '0'
  redis.call('ZADD', K.ready, start, lane)
  redis.call('ZREM', K.timers, lane)
  return true
end

local function make_ready(lane)
  if enter_ready(lane) then wake() end
end

-- Puts a message into its lane, due at `due` (ms). A lane is in `ready` while its first message is
-- due, else in `timers`.
local function to_lane(lane, id, due, now)
  redis.call('ZADD', K.lane(lane), string.format('%.17g', due + lead), id)
  if due <= now then
    make_ready(lane)
  elseif not redis.call('ZSCORE', K.ready, lane) then
    local timer = redis.call('ZSCORE', K.timers, lane)
    if not timer or due + lead < tonumber(timer) then
      redis.call('ZADD', K.timers, int(due + lead), lane)
      wake()
    end
  end
end

-- Takes a message out of the one place that it is in. `row` has at least `s`, `l`, `k` and `w`.
-- Its lane may stay in `ready` or `timers`: the next claim finds it empty and removes it.
local function leave(id, row)
  local stage = row.s
  if stage == 'claimed' or stage == 'posting' then
    redis.call('ZREM', K.leases, id)
  elseif stage == 'unknown' then
    redis.call('ZREM', K.unknown, id)
  elseif stage == 'unresolved' then
    redis.call('ZREM', K.unresolved, id)
  elseif stage == 'queued' or stage == 'retrying' or stage == 'waiting' then
    redis.call('ZREM', K.lane(row.l), id)
    if row.k then redis.call('ZREM', K.suspects, id) end
  end
  if row.w then
    local digest, sender = string.match(row.w, '^(.-)|(.*)$')
    redis.call('SREM', K.waiting(digest, sender), id)
    redis.call('HDEL', K.row(id), 'w')
    row.w = nil
  end
end

-- Returns how many attempts may be at Twilio without proof. Those stay listed with their person.
-- `row` has at least `n` and `p`.
local function doubts_of(id, row)
  -- Checked first because usually nothing is listed, and a message may have had many attempts that
  -- were never posted.
  if not row.p or redis.call('ZCARD', K.permits(row.p)) == 0 then return 0 end
  local found = 0
  for attempt = 1, tonumber(row.n) do
    if redis.call('ZSCORE', K.permits(row.p), int(attempt) .. ':' .. id) then found = found + 1 end
  end
  return found
end

local function is_in_doubt(id, row)
  return doubts_of(id, row) > 0
end

-- Stages that an operator may retry. Such a message keeps its job as long as its row.
local MAY_BE_RETRIED = { refused = true, failed = true, expired = true }

-- Gives the keys of an ended message their term, after which Redis deletes them.
local function keep_ended(id, row)
  redis.call('PEXPIRE', K.row(id), KEEP_ENDED)
  redis.call('PEXPIRE', K.timeline(id), KEEP_ENDED)
  if MAY_BE_RETRIED[row.s] and not row.x then
    redis.call('PEXPIRE', K.job(id), KEEP_ENDED)
  else
    redis.call('DEL', K.job(id), K.unreadable(id))
  end
end

-- Ends a message in another way than by acceptance. A dead letter keeps its job and stays until an
-- operator decides. One that was asked to be cancelled is never sent again, so there is nothing to
-- decide.
-- `rest`: the members of its timeline note. The note is written first, so that the timeline gets
-- its term together with the row.
local function end_message(id, row, stage, reason, code, now, rest)
  leave(id, row)
  note(id, now, stage, rest or '"reason":"' .. reason .. '"')
  local key = K.row(id)
  redis.call('HSET', key, 's', stage, 'r', reason, 'z', int(now))
  if code then redis.call('HSET', key, 'c', code) end
  if is_in_doubt(id, row) then redis.call('HSET', key, 'ps', '1') end
  -- `x` stays, so that no replay and no retry sends the message after a cancel.
  redis.call('HDEL', key, 'k', 'pr', 'lo')
  redis.call('HINCRBY', K.counts, 'end:' .. stage .. ':' .. reason, 1)
  row.s = stage
  if stage == 'dead' and not row.x then
    redis.call('ZADD', K.dead, int(now), id)
  else
    keep_ended(id, row)
  end
end
