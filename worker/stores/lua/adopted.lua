-- Removes arq's entry of a job that was taken over. ARGV: job id, message id.
-- A job that arq wrote under the id of an ended message is nobody's any more; an unreadable one is kept elsewhere.
local ENDED = { refused = true, failed = true, expired = true, cancelled = true }
local id = ARGV[2]
local row = redis.call('HMGET', K.row(id), 's', 'r')
redis.call('ZREM', K.ingress, ARGV[1])
if not row[1] then count('adopted_without_job') end
if ENDED[row[1]] or row[2] == 'unreadable' then redis.call('DEL', K.job(id)) end
return 1
