-- Milliseconds until the last unsettled permit of a person lapses; 0: none is unsettled. ARGV: person.
return permits_left(resolve(ARGV[1]), clock())
