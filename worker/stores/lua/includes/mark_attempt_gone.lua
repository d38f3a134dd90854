-- include: attempt_line

-- Marks an attempt that is proven to have led to nothing. Its line goes when the next attempt
-- begins, so that rounds do not make the row grow.
local function mark_attempt_gone(id, row, n)
  local attempt = row.attempts[n]
  if not attempt or attempt.is_gone then return end
  attempt.is_gone = true
  write_attempt(id, row, n, attempt)
end
