-- Keeps a job nobody could read as a dead letter, bytes whole. Safe to repeat.
-- ARGV: request id, message id, bytes, digest of the bytes, rest of the timeline note.
-- Answers 'kept', 'known' when the same bytes were kept before, or 'taken' when the id is another message's.
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
