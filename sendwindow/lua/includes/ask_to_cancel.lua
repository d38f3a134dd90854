-- include: add_to_timeline, count_unproven

-- Stages in which an attempt is under way or may be at Twilio: the message is not sent again.
local HELD = C.HELD

-- Records on the row that its producer no longer wants the message. Admission refuses a message
-- with this mark, so no further POST begins. `event` and `entry` go into its timeline.
-- The list is for `end_cancelled.lua`, and has each message once. The worker that holds or resolves
-- a message ends it itself.
local function mark_cancelled(id, row, now, event, entry)
  if row[F.cancel_asked] then return end
  redis.call('HSET', K.row(id), F.cancel_asked, '1')
  if not HELD[row[F.stage]] then redis.call('RPUSH', K.cancel_asked, id) end
  add_to_timeline(id, now, event, entry)
end

-- Whether an attempt of a message that is in a lane or claimed may be at Twilio. The row keeps
-- that, so that `status` and a repeated call return the same.
local function is_maybe_sent(id, row)
  if row[F.maybe_sent] then return true end
  if count_unproven(id, row) == 0 then return false end
  redis.call('HSET', K.row(id), F.maybe_sent, '1')
  return true
end
