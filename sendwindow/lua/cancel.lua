-- Cancels messages. After it no POST begins, whatever a worker or an operator asks for later. Safe
-- to repeat. If an attempt may already have reached Twilio, it returns `too_late`, so that the
-- caller does not assume the message was never sent.
-- ARGV: message ids.
-- Returns for each: 'cancelled', 'too_late', 'ended' or 'unknown_id'.
-- Keys: meta, row, timeline, job, unreadable, dead, counts, permits; and the one that the message
-- is in (lane, suspects, leases, unknown, unresolved, waiting).
-- Callers: producers (`sendwindow.protocol.CANCEL`), and `ArqIngressStore` for jobs that a plain
-- arq producer aborted.

-- Stages in which an attempt is under way or may be at Twilio: the message is not sent again.
local HELD = { claimed = true, posting = true, unknown = true, unresolved = true }
local FIELDS = { 's', 'l', 'w', 'x', 'k', 'n', 'p', 'ps', 'r' }
local now = clock()

local function ask(id, row, now)
  if row.x then return end
  redis.call('HSET', K.row(id), 'x', '1')
  row.x = '1'
  note(id, now, 'cancel_asked')
end

-- Whether Twilio gave an attempt a SID, which is a field `@SM…` of the attempts table.
local function has_sid(id)
  for _, name in ipairs(redis.call('HKEYS', K.row(id))) do
    if string.find(name, '^@%a') then return true end
  end
  return false
end

-- A dead letter waits for an operator, who could replay it. After a cancel it leaves that list and
-- is deleted after the usual term. Its stage and reason do not change.
local function let_go(id, row, now)
  if row.x then return end
  ask(id, row, now)
  redis.call('ZREM', K.dead, id)
  keep_ended(id, row)
end

local replies = {}
for _, id in ipairs(ARGV) do
  local got = redis.call('HMGET', K.row(id), unpack(FIELDS))
  local row = {}
  for index, name in ipairs(FIELDS) do row[name] = got[index] or nil end
  local stage = row.s
  local reply
  if not stage then
    reply = 'unknown_id'
  elseif stage == 'queued' or stage == 'waiting' or stage == 'retrying' then
    reply = is_in_doubt(id, row) and 'too_late' or 'cancelled'
    end_message(id, row, 'cancelled', 'cancelled', nil, now)
  elseif HELD[stage] then
    -- Admission refuses a message that carries `x`, so no further POST begins. The worker that
    -- holds or resolves the message ends it.
    ask(id, row, now)
    reply = (stage ~= 'claimed' or is_in_doubt(id, row)) and 'too_late' or 'cancelled'
  elseif stage == 'cancelled' then
    reply = row.ps and 'too_late' or 'cancelled'
  elseif stage == 'dead' then
    let_go(id, row, now)
    reply = (row.ps or row.r == 'never_by_rule' or has_sid(id)) and 'too_late' or 'cancelled'
  else
    -- Without `x`, a failure that is reported later would send an accepted message again, and an
    -- operator's `retry` would send any other. The job of the others is deleted as well.
    if MAY_BE_RETRIED[stage] then redis.call('DEL', K.job(id)) end
    ask(id, row, now)
    reply = 'ended'
  end
  replies[#replies + 1] = reply
end
return replies
