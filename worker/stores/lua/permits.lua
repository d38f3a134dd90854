-- Milliseconds until the last unsettled permit of a person lapses; 0: none is unsettled. ARGV: person.
local person = resolve(ARGV[1])
return open_permits(all_of(person, redis.call('HGET', K.person(person), 'sp')), clock())
