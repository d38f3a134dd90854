-- Returns the mark of a message of a restored copy that may have been sent between the copy and the
-- restore, nil for none. The field holds
-- `<attempt>|<restored at (ms)>|<p: posted before the copy, q: not>|<stage>|<due (ms)>`. The mark
-- is about that attempt alone.
local function restored_mark(id, row)
  local mark = redis.call('HGET', K.row(id), F.restored)
  if not mark then return nil end
  local n, at, kind, stage, due = string.match(mark, '^(%d+)|(%d+)|(%a)|(%a+)|(%d+)$')
  if tonumber(n) ~= row[F.attempt] then return nil end
  return { at = tonumber(at), is_posted = kind == 'p', stage = stage, due = tonumber(due) }
end
