-- Returns the lines of a person's consent ledger, under whichever digest they are kept.
-- ARGV: person (its digests).
-- Keys: person, consents. Reads only.
-- Callers: `PeopleStore.consents`, for the operator's commands.
local lines = {}
local root = resolve(first_of(ARGV[1]))
for _, digest in ipairs(all_of(root .. ' ' .. ARGV[1])) do
  for _, line in ipairs(redis.call('LRANGE', K.consents(digest), 0, -1)) do lines[#lines + 1] = line end
end
return lines
