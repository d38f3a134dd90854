-- include: attempt_key

-- Returns the key of the attempt that taught something about a person, so that a later proof
-- against it can take that back.
local function source_of(who)
  return attempt_key(who.id or '', who.attempt or 0)
end
