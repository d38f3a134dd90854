-- An operator lets messages go to a person again: ends the suppression and whatever errors hold back.
-- ARGV: request id, person (its digests).
-- Answers how much ended. What attempts until now teach later counts no more; what the person wished is not touched.
local now = clock()
local person = gathered(ARGV[2])

return once(ARGV[1], HOUR, function()
  local lifted = lift(person, nil, now, false)
  redis.call('HSET', K.person(person), 'al', int(now))
  bump(K.person(person))
  return { lifted }
end)
