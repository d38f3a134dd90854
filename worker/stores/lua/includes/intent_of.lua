-- Returns when an attempt's intent was written. An attempt whose line is gone gets the date of the
-- last one.
local function intent_of(row, n)
  local attempt = row.attempts[n]
  return attempt and attempt.at or tonumber(row.last_intent)
end
