-- Returns the milliseconds until the last unsettled permit of a person lapses; 0: every permit is
-- settled.
-- ARGV: person (one digest).
-- Keys: meta, person, permits, row.
-- Callers: `PeopleStore.permits_left_ms`.
local person = resolve(ARGV[1])
return open_permits(all_of(person, redis.call('HGET', K.person(person), 'sp')), clock())
