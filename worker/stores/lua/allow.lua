-- Ends the suppression of a person and whatever errors hold back, because an operator allows
-- messages to the person again.
-- ARGV: request id, person (its digests).
-- Returns how many of these ended. What an attempt until now teaches later no longer counts. The
-- person's own wishes stay as they are.
-- Keys: meta, answered, person; when the digests are gathered, consents, sent_to, suspected_stops,
-- sender and counts.
-- Callers: `PeopleStore.allow`, for the operator's commands.

-- include: answer_once, clock, end_blocks, gathered, int, raise_revision

local now = clock()
local person = gathered(ARGV[2])

return answer_once(ARGV[1], C.HOUR_MS, function()
  local lifted = end_blocks(person, nil, now, false)
  redis.call('HSET', K.person(person), F.allowed_at, int(now))
  raise_revision(K.person(person))
  return { lifted }
end)
