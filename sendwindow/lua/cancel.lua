-- Asks for messages to be cancelled. After it no POST begins, whatever a worker or an operator asks
-- for later. A worker records the end. Safe to repeat. If an attempt may already have reached
-- Twilio, it returns `too_late`, so that the caller does not assume the message was never sent.
-- ARGV: message ids.
-- Returns for each: 'cancelled', 'too_late', 'ended' or 'unknown_id'.
-- Keys: meta, row, timeline, cancel_asked, permits.
-- Callers: producers (`sendwindow.protocol.CANCEL`), and `ArqIngressStore` for jobs that a plain
-- arq producer aborted.

-- include: ask_to_cancel, clock

-- Stages of messages that no attempt of this round was posted for.
local UNPOSTED = C.UNPOSTED
local FIELDS = {
  F.stage, F.cancel_asked, F.attempt, F.person, F.maybe_sent, F.reason,
}
local now = clock()

-- Whether Twilio gave an attempt a SID, which is a field of the attempts table.
local function has_sid(id)
  for _, name in ipairs(redis.call('HKEYS', K.row(id))) do
    if string.find(name, '^' .. F.table .. '%a') then return true end
  end
  return false
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
  elseif UNPOSTED[stage] then
    reply = is_maybe_sent(id, row) and 'too_late' or 'cancelled'
    mark_cancelled(id, row, now, 'cancel_asked')
  elseif HELD[stage] then
    mark_cancelled(id, row, now, 'cancel_asked')
    reply = 'too_late'
  elseif stage == C.CANCELLED then
    reply = row[F.maybe_sent] and 'too_late' or 'cancelled'
  elseif stage == C.DEAD then
    mark_cancelled(id, row, now, 'cancel_asked')
    local maybe_sent = row[F.maybe_sent] or row[F.reason] == C.NEVER_BY_RULE or has_sid(id)
    reply = maybe_sent and 'too_late' or 'cancelled'
  else
    -- Without the mark, a failure that is reported later would send an accepted message again, and
    -- an operator's `retry` would send any other.
    mark_cancelled(id, row, now, 'cancel_asked')
    reply = 'ended'
  end
  replies[#replies + 1] = reply
end
return replies
