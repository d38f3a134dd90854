-- include: end_message, put_into_lane, remove_from_place

-- Puts a message back into its lane. If a cancel was asked for meanwhile, it ends the message
-- instead.
local function requeue(id, row, stage, reason, due, now)
  remove_from_place(id, row)
  if row[F.cancel_asked] then
    end_message(id, row, C.CANCELLED, C.CANCELLED, nil, now)
    return
  end
  redis.call('HSET', K.row(id), F.stage, stage, F.reason, reason)
  row[F.stage] = stage
  put_into_lane(row[F.lane], id, due, now)
end
