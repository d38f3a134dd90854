-- include: read_instant

-- Returns a stored revision as a number. One that is not a number counts as one that no decision
-- has seen.
local function revision_of(text)
  return read_instant(text or '0') or tonumber(redis.call('TIME')[1] .. '000')
end
