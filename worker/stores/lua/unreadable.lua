-- Records a job that no worker could read as a dead letter, with all its bytes. Safe to repeat.
-- ARGV: request id, message id, bytes, digest of the bytes, rest of the timeline note.
-- Returns 'kept', 'known' when the same bytes were kept before, or 'taken' when the id belongs to
-- another message.
-- Keys: meta, answered, row, unreadable, timeline, dead, job, counts.
-- Callers: `ArqIngressStore.adopt`, for the dispatcher and the command for a restored store.
local now = clock()
local id, digest = ARGV[2], ARGV[4]

local answers = once(ARGV[1], HOUR, function()
  if redis.call('EXISTS', K.row(id)) == 1 then return {} end
  local row = { s = 'new', l = '' }
  redis.call('HSET', K.row(id), 's', 'queued', 'l', '||', 'd', digest, 'q', int(now), 'e', int(now), 'u', 'hold', 'n', '0')
  redis.call('SET', K.unreadable(id), ARGV[3])
  count('enqueued')
  end_message(id, row, 'dead', 'unreadable', nil, now, ARGV[5])
  return { 'kept' }
end)
if #answers > 0 then return answers[1] end
return redis.call('HGET', K.row(id), 'd') == digest and 'known' or 'taken'
