-- Milliseconds until the last open permit of a person lapses. ARGV: person.
local last = redis.call('ZRANGE', K.permits(resolve(ARGV[1])), -1, -1, 'WITHSCORES')
return last[2] and math.max(0, math.ceil(tonumber(last[2]) - clock())) or 0
