-- include: retriable

-- Gives the keys of an ended message their term, after which Redis deletes them.
local function expire_ended(id, row)
  redis.call('PEXPIRE', K.row(id), C.KEEP_ENDED_MS)
  redis.call('PEXPIRE', K.timeline(id), C.KEEP_ENDED_MS)
  if RETRIABLE[row[F.stage]] and not row[F.cancel_asked] then
    redis.call('PEXPIRE', K.job(id), C.KEEP_ENDED_MS)
  else
    redis.call('DEL', K.job(id), K.unreadable(id))
  end
end
