-- include: int

-- Returns the member that stands for an attempt in sets of attempts.
local function attempt_key(id, attempt)
  return int(attempt) .. ':' .. id
end
