#!lua flags=allow-oom
local TAG = string.match(KEYS[1], '{.-}')
local K = {
  counts = 'sw:'..TAG..':counts',
  dead = 'sw:'..TAG..':dead',
  leases = 'sw:'..TAG..':leases',
  meta = 'sw:'..TAG..':meta',
  suspects = 'sw:'..TAG..':suspects',
  unknown = 'sw:'..TAG..':unknown',
  unresolved = 'sw:'..TAG..':unresolved',
}
-- Returns a number as a decimal string without exponent. `..` would round above 14 digits.
local function int(number)
  return string.format('%.0f', math.floor(number))
end

-- include: int

-- Returns a line of a timeline: a JSON object of `at`, `e` (what happened) and the members of
-- `entry` (nil: none).
-- `at` and `e` come first, because older releases and older libraries of producers expect that when
-- they shorten a timeline.
local function timeline_line(at, event, entry)
  local start = '{"at":' .. int(at) .. ',"e":"' .. event .. '"'
  if not entry then return start .. '}' end
  return start .. ',' .. string.sub(cjson.encode(entry), 2)
end

-- Adds what happened to the timeline of a message. `entry`: the members besides `at` and `e`, at
-- least one, or nil. Its numbers are whole and below 10^14, because cjson writes 14 digits. It has
-- no empty lists, because cjson would write them as objects.
-- A timeline keeps its first and its last lines. One line counts the lines between them.
local function add_to_timeline(id, now, event, entry)
  local key = ('sw:'..TAG..':t:'..(id))
  local length = redis.call('RPUSH', key, timeline_line(now, event, entry))
  if length <= 64 then return end
  local first = cjson.decode(redis.call('LINDEX', key, 16))
  local lines = first.e == 'left_out' and first.lines or 1
  redis.call('LSET', key, 16 + 1, '')
  redis.call('LREM', key, 1, '')
  local line = timeline_line(first.at, 'left_out', { lines = lines + 1 })
  redis.call('LSET', key, 16, line)
end

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
  if kept[2] and kept[2] ~= tostring(1) then
    error(redis.error_reply('SCHEMA this release knows the layout ' .. 1 .. ' only'))
  end
  lead = tonumber(kept[3] or '0') or 0
  return time[1] * 1000 + time[2] / 1000 + (tonumber(kept[1] or '0') or 0)
end

-- include: int

-- Returns how many attempts may be at Twilio without proof. Those stay listed with their person.
-- `row` has at least the attempt and the person.
local function count_unproven(id, row)
  -- Checked first because usually nothing is listed, and a message may have had many attempts that
  -- were never posted.
  local key = row['p'] and ('sw:'..TAG..':open:'..(row['p']))
  if not key or redis.call('ZCARD', key) == 0 then return 0 end
  local found = 0
  for attempt = 1, tonumber(row['n']) do
    if redis.call('ZSCORE', key, int(attempt) .. ':' .. id) then found = found + 1 end
  end
  return found
end

-- Stages of ended messages that an operator may retry. Such a message keeps its job as long as its
-- row.
local RETRIABLE = { ['expired'] = true, ['failed'] = true, ['refused'] = true }

-- include: retriable

-- Gives the keys of an ended message their term, after which Redis deletes them.
local function expire_ended(id, row)
  redis.call('PEXPIRE', ('sw:'..TAG..':m:'..(id)), 259200000)
  redis.call('PEXPIRE', ('sw:'..TAG..':t:'..(id)), 259200000)
  if RETRIABLE[row['s']] and not row['x'] then
    redis.call('PEXPIRE', ('arq:job:'..TAG..''..(id)), 259200000)
  else
    redis.call('DEL', ('arq:job:'..TAG..''..(id)), ('sw:'..TAG..':raw:'..(id)))
  end
end

-- Stages of messages that are in a lane, or among the suspects, until a worker claims them.
local IN_A_LANE = { ['queued'] = true, ['retrying'] = true, ['waiting'] = true }

-- include: in_a_lane

-- Takes a message out of the one place that it is in. `row` has at least stage, lane, crashes and
-- whom it waits for.
-- Its lane may stay in `ready` or `timers`: the next claim finds it empty and removes it.
local function remove_from_place(id, row)
  local stage = row['s']
  if stage == 'claimed' or stage == 'posting' then
    redis.call('ZREM', K.leases, id)
  elseif stage == 'unknown' then
    redis.call('ZREM', K.unknown, id)
  elseif stage == 'unresolved' then
    redis.call('ZREM', K.unresolved, id)
  elseif IN_A_LANE[stage] then
    redis.call('ZREM', ('sw:'..TAG..':lane:'..(row['l'])), id)
    if row['k'] then redis.call('ZREM', K.suspects, id) end
  end
  if row['w'] then
    local digest, sender = string.match(row['w'], '^(.-)|(.*)$')
    redis.call('SREM', ('sw:'..TAG..':wait:'..(digest)..':'..(sender)), id)
    redis.call('HDEL', ('sw:'..TAG..':m:'..(id)), 'w')
    row['w'] = nil
  end
end

-- include: add_to_timeline, count_unproven, expire_ended, int, remove_from_place

-- Ends a message in another way than by acceptance. A dead letter keeps its job and stays until an
-- operator decides. One that was asked to be cancelled is never sent again, so there is nothing to
-- decide.
-- `entry`: the members of its timeline entry, nil for the reason alone. The entry is written first,
-- so that the timeline gets its term together with the row.
local function end_message(id, row, stage, reason, code, now, entry)
  remove_from_place(id, row)
  add_to_timeline(id, now, stage, entry or { reason = reason })
  local key = ('sw:'..TAG..':m:'..(id))
  redis.call('HSET', key, 's', stage, 'r', reason, 'z', int(now))
  if code then redis.call('HSET', key, 'c', code) end
  if count_unproven(id, row) > 0 then redis.call('HSET', key, 'ps', '1') end
  -- The mark of the cancel stays, so that no replay and no retry sends the message after a cancel.
  redis.call('HDEL', key, 'k', 'pr', 'lo')
  redis.call('HINCRBY', K.counts, 'end:' .. stage .. ':' .. reason, 1)
  row['s'] = stage
  if stage == 'dead' and not row['x'] then
    redis.call('ZADD', K.dead, int(now), id)
  else
    expire_ended(id, row)
  end
end

-- Cancels messages. After it no POST begins, whatever a worker or an operator asks for later. Safe
-- to repeat. If an attempt may already have reached Twilio, it returns `too_late`, so that the
-- caller does not assume the message was never sent.
-- ARGV: message ids.
-- Returns for each: 'cancelled', 'too_late', 'ended' or 'unknown_id'.
-- Keys: meta, row, timeline, job, unreadable, dead, counts, permits; and the one that the message
-- is in (lane, suspects, leases, unknown, unresolved, waiting).
-- Callers: producers (`sendwindow.protocol.CANCEL`), and `ArqIngressStore` for jobs that a plain
-- arq producer aborted.

-- include: add_to_timeline, clock, count_unproven, end_message, expire_ended, in_a_lane
-- include: retriable

-- Stages in which an attempt is under way or may be at Twilio: the message is not sent again.
local HELD = { ['claimed'] = true, ['posting'] = true, ['unknown'] = true, ['unresolved'] = true }
local FIELDS = {
  's', 'l', 'w', 'x', 'k', 'n', 'p', 'ps',
  'r',
}
local now = clock()

-- Records on the row that its producer no longer wants the message.
local function mark_cancelled(id, row)
  if row['x'] then return end
  redis.call('HSET', ('sw:'..TAG..':m:'..(id)), 'x', '1')
  row['x'] = '1'
  add_to_timeline(id, now, 'cancel_asked')
end

-- Whether Twilio gave an attempt a SID, which is a field of the attempts table.
local function has_sid(id)
  for _, name in ipairs(redis.call('HKEYS', ('sw:'..TAG..':m:'..(id)))) do
    if string.find(name, '^@%a') then return true end
  end
  return false
end

-- A dead letter waits for an operator, who could replay it. After a cancel it leaves that list and
-- is deleted after the usual term. Its stage and reason do not change.
local function cancel_dead(id, row)
  if row['x'] then return end
  mark_cancelled(id, row)
  redis.call('ZREM', K.dead, id)
  expire_ended(id, row)
end

local replies = {}
for _, id in ipairs(ARGV) do
  local got = redis.call('HMGET', ('sw:'..TAG..':m:'..(id)), unpack(FIELDS))
  local row = {}
  for index, name in ipairs(FIELDS) do row[name] = got[index] or nil end
  local stage = row['s']
  local reply
  if not stage then
    reply = 'unknown_id'
  elseif IN_A_LANE[stage] then
    reply = count_unproven(id, row) > 0 and 'too_late' or 'cancelled'
    end_message(id, row, 'cancelled', 'cancelled', nil, now)
  elseif HELD[stage] then
    -- Admission refuses a message that carries the mark, so no further POST begins. The worker that
    -- holds or resolves the message ends it.
    mark_cancelled(id, row)
    local maybe_sent = stage ~= 'claimed' or count_unproven(id, row) > 0
    reply = maybe_sent and 'too_late' or 'cancelled'
  elseif stage == 'cancelled' then
    reply = row['ps'] and 'too_late' or 'cancelled'
  elseif stage == 'dead' then
    cancel_dead(id, row)
    local maybe_sent = row['ps'] or row['r'] == 'never_by_rule' or has_sid(id)
    reply = maybe_sent and 'too_late' or 'cancelled'
  else
    -- Without the mark, a failure that is reported later would send an accepted message again, and
    -- an operator's `retry` would send any other. The job of the others is deleted as well.
    if RETRIABLE[stage] then redis.call('DEL', ('arq:job:'..TAG..''..(id))) end
    mark_cancelled(id, row)
    reply = 'ended'
  end
  replies[#replies + 1] = reply
end
return replies
