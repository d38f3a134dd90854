-- Keeps a job nobody could read as a dead letter, bytes whole. Safe to repeat.
-- ARGV: message id, bytes, digest of the bytes, rest of the timeline note. Answers 1, or 0 when the id is another message's.
local now = clock()
local id = ARGV[1]
local known = redis.call('HMGET', K.row(id), 's', 'd')
if known[1] then return known[2] == ARGV[3] and 1 or 0 end
local row = { s = 'new', l = '' }
redis.call('HSET', K.row(id), 's', 'queued', 'l', '||', 'd', ARGV[3], 'q', int(now), 'e', int(now), 'u', 'hold', 'n', '0')
redis.call('SET', K.unreadable(id), ARGV[2])
count('enqueued')
end_message(id, row, 'dead', 'unreadable', nil, now, ARGV[4])
return 1
