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
local HELD = C.HELD
local FIELDS = {
  F.stage, F.lane, F.awaited, F.cancel_asked, F.crashes, F.attempt, F.person, F.maybe_sent,
  F.reason,
}
local now = clock()

-- Records on the row that its producer no longer wants the message.
local function mark_cancelled(id, row)
  if row[F.cancel_asked] then return end
  redis.call('HSET', K.row(id), F.cancel_asked, '1')
  row[F.cancel_asked] = '1'
  add_to_timeline(id, now, 'cancel_asked')
end

-- Whether Twilio gave an attempt a SID, which is a field of the attempts table.
local function has_sid(id)
  for _, name in ipairs(redis.call('HKEYS', K.row(id))) do
    if string.find(name, '^' .. F.table .. '%a') then return true end
  end
  return false
end

-- A dead letter waits for an operator, who could replay it. After a cancel it leaves that list and
-- is deleted after the usual term. Its stage and reason do not change.
local function cancel_dead(id, row)
  if row[F.cancel_asked] then return end
  mark_cancelled(id, row)
  redis.call('ZREM', K.dead, id)
  expire_ended(id, row)
end

local replies = {}
for _, id in ipairs(ARGV) do
  local got = redis.call('HMGET', K.row(id), unpack(FIELDS))
  local row = {}
  for index, name in ipairs(FIELDS) do row[name] = got[index] or nil end
  local stage = row[F.stage]
  local reply
  if not stage then
    reply = 'unknown_id'
  elseif IN_A_LANE[stage] then
    reply = count_unproven(id, row) > 0 and 'too_late' or 'cancelled'
    end_message(id, row, C.CANCELLED, C.CANCELLED, nil, now)
  elseif HELD[stage] then
    -- Admission refuses a message that carries the mark, so no further POST begins. The worker that
    -- holds or resolves the message ends it.
    mark_cancelled(id, row)
    local maybe_sent = stage ~= C.CLAIMED or count_unproven(id, row) > 0
    reply = maybe_sent and 'too_late' or 'cancelled'
  elseif stage == C.CANCELLED then
    reply = row[F.maybe_sent] and 'too_late' or 'cancelled'
  elseif stage == C.DEAD then
    cancel_dead(id, row)
    local maybe_sent = row[F.maybe_sent] or row[F.reason] == C.NEVER_BY_RULE or has_sid(id)
    reply = maybe_sent and 'too_late' or 'cancelled'
  else
    -- Without the mark, a failure that is reported later would send an accepted message again, and
    -- an operator's `retry` would send any other. The job of the others is deleted as well.
    if RETRIABLE[stage] then redis.call('DEL', K.job(id)) end
    mark_cancelled(id, row)
    reply = 'ended'
  end
  replies[#replies + 1] = reply
end
return replies
