-- Corrects how many messages are counted as queued for a sender, unless the count changed since.
-- ARGV: sender, the count that was seen, how many there are.
-- Returns 1, or 0 when the count changed. Safe to repeat.
-- Keys: meta, queued.
-- Callers: `Store.recount_queued`, for the dispatcher.

local sender, seen, number = unpack(ARGV)
local counted = redis.call('HGET', K.queued, sender) or '0'
if counted ~= seen then return counted == number and 1 or 0 end
redis.call('HSET', K.queued, sender, number)
return 1
