-- Records a job that no worker could read as a dead letter, with all its bytes. Safe to repeat.
-- ARGV: request id, a JSON object, the bytes. The object: id, digest (of the bytes), entry (of the
-- timeline).
-- Returns 'kept', 'known' when the same bytes were kept before, or 'taken' when the id belongs to
-- another message.
-- Keys: meta, answered, row, unreadable, timeline, dead, job, counts.
-- Callers: `ArqIngressStore.adopt`, for the dispatcher and the command for a restored store.

-- include: answer_once, clock, count, end_message, int

local request, asked, bytes = ARGV[1], cjson.decode(ARGV[2]), ARGV[3]
local now = clock()
local id, digest = asked.id, asked.digest

local answers = answer_once(request, C.HOUR_MS, function()
  if redis.call('EXISTS', K.row(id)) == 1 then return {} end
  redis.call('HSET', K.row(id), F.stage, C.QUEUED, F.lane, '||', F.content_digest, digest,
    F.enqueued_at, int(now), F.expires_at, int(now), F.on_unknown, C.ON_UNKNOWN_HOLD,
    F.attempt, '0')
  redis.call('SET', K.unreadable(id), bytes)
  count('enqueued')
  -- It is in no lane, so it has no stage to leave yet.
  end_message(id, {}, C.DEAD, C.UNREADABLE, nil, now, asked.entry)
  return { 'kept' }
end)
if #answers > 0 then return answers[1] end
return redis.call('HGET', K.row(id), F.content_digest) == digest and 'known' or 'taken'
