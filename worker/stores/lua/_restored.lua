-- A message of a restored copy that may have been sent between the copy and the restore. Field `rs`
-- marks it:
-- `<attempt>|<restored at (ms)>|<p: posted before the copy, q: not>|<stage>|<due (ms)>`. The mark
-- is about that attempt alone.

local function restored_mark(id, row)
  local mark = redis.call('HGET', K.row(id), 'rs')
  if not mark then return nil end
  local n, at, kind, stage, due = string.match(mark, '^(%d+)|(%d+)|(%a)|(%a+)|(%d+)$')
  if tonumber(n) ~= row.n then return nil end
  return { at = tonumber(at), is_posted = kind == 'p', stage = stage, due = tonumber(due) }
end

-- Twilio has no such message, so it goes back to where the copy had it. This does not count as a
-- try.
local function back_from_copy(id, row, mark, reason, now)
  if row.p then redis.call('ZREM', K.permits(row.p), mark_of(id, row.n)) end
  row.free = one_more(K.row(id), '@0')
  mark_gone(id, row, row.n)
  redis.call('HDEL', K.row(id), 'rs')
  requeue(id, row, mark.stage, reason, mark.due, now)
end
