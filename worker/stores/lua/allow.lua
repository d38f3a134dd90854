-- Ends the suppression of a person and whatever errors hold back, because an operator allows
-- messages to the person again.
-- ARGV: request id, person (its digests).
-- Returns how many of these ended. What an attempt until now teaches later no longer counts. The
-- person's own wishes stay as they are.
-- Keys: meta, answered, person; when the digests are gathered, consents, sent_to, suspected_stops,
-- sender and counts.
-- Callers: `PeopleStore.allow`, for the operator's commands.
local now = clock()
local person = gathered(ARGV[2])

return once(ARGV[1], HOUR, function()
  local lifted = lift(person, nil, now, false)
  redis.call('HSET', K.person(person), 'al', int(now))
  bump(K.person(person))
  return { lifted }
end)
