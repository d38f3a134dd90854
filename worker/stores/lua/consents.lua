-- Returns the lines of a person's consent ledger, under whichever digest they are kept.
-- ARGV: person (its digests).
-- Keys: person, consents. Reads only.
-- Callers: `PeopleStore.consents`, for the operator's commands.

-- include: distinct_digests, first_digest, follow_pointers

local lines = {}
local root = follow_pointers(first_digest(ARGV[1]))
for _, digest in ipairs(distinct_digests(root .. ' ' .. ARGV[1])) do
  for _, line in ipairs(redis.call('LRANGE', K.consents(digest), 0, -1)) do
    lines[#lines + 1] = line
  end
end
return lines
