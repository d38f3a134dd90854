-- Cancels messages: no POST begins after it. Safe to repeat. Where an attempt may be at Twilio whoever asks must not take the
-- message for unsent.
-- ARGV: message ids. Answers for each 'cancelled', 'too_late', 'ended' or 'unknown_id'.
-- What is under way, or may be at Twilio: it is not sent again.
local HELD = { claimed = true, posting = true, unknown = true, unresolved = true }
local FIELDS = { 's', 'l', 'w', 'x', 'k', 'n', 'p', 'ps' }
local now = clock()

local function ask(id, row, now)
  if row.x then return end
  redis.call('HSET', K.row(id), 'x', '1')
  note(id, now, 'cancel_asked')
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
    -- Admission refuses a message that carries `x`, so no other POST will happen; whoever holds it ends it.
    ask(id, row, now)
    reply = (stage ~= 'claimed' or is_in_doubt(id, row)) and 'too_late' or 'cancelled'
  elseif stage == 'cancelled' then
    reply = row.ps and 'too_late' or 'cancelled'
  else
    -- A failure told later would send an accepted one again.
    if stage == 'accepted' then ask(id, row, now) end
    reply = 'ended'
  end
  replies[#replies + 1] = reply
end
return replies
