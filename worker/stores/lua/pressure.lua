-- Tells producers how full the store is. Unlike HSET by itself, it may do so in a store that is full. ARGV: percent.
redis.call('HSET', K.meta, 'pressure', ARGV[1])
return 1
