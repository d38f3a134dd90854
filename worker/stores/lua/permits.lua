-- Returns the milliseconds until the last unsettled permit of a person lapses; 0: every permit is
-- settled.
-- ARGV: person (one digest).
-- Keys: meta, person, permits, row.
-- Callers: `PeopleStore.permits_left_ms`.

-- include: clock, distinct_digests, follow_pointers, open_permits

local person = follow_pointers(ARGV[1])
local others = redis.call('HGET', K.person(person), F.other_digests)
return open_permits(distinct_digests(person, others), clock())
