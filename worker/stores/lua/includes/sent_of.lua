-- Returns what an attempt was, as far as it matters to what its error teaches.
local function sent_of(row, n)
  local attempt = row.attempts[n] or {}
  return { marketing = attempt.marketing or false, user_id = attempt.user_id or false }
end
