-- include: end_message, list_expiry_again, put_into_lane, remove_from_place

-- Puts a message back into its lane. If a cancel was asked for meanwhile, it ends the message
-- instead.
-- Nothing is sent from here: the message is claimed, decided and admitted again. Who may put it
-- back: the worker that holds it (`settle.lua`, `release.lua`), any worker after the lease ran out
-- before an intent was written (`reap.lua`), the search for an unknown outcome by the message's own
-- rule, or an operator (`resolve.lua`), an operator who sends an ended message again
-- (`send_again`), a failure that Twilio reports of an accepted message (`reopen_message`), and the
-- search after a restore (`back_from_copy`).
local function requeue(id, row, stage, reason, due, now)
  remove_from_place(id, row)
  if row[F.cancel_asked] then
    end_message(id, row, C.CANCELLED, C.CANCELLED, nil, now)
    return
  end
  redis.call('HSET', K.row(id), F.stage, stage, F.reason, reason)
  row[F.stage] = stage
  put_into_lane(row[F.lane], id, due, now)
  list_expiry_again(id, row, now)
end
