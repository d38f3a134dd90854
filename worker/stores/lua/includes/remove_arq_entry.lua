-- include: count, retriable

-- Removes arq's entry of a job that was taken over.
-- It deletes the job if arq wrote it under the id of a cancelled message, or if it is unreadable,
-- because unreadable bytes are kept elsewhere. A job that an operator may have sent again stays as
-- long as its row, unless it is the job of another message, written over it. `is_same`: the entry's
-- job says the same as the message.
local function remove_arq_entry(job_id, id, is_same)
  local stage, reason, cancel_asked = unpack(
    redis.call('HMGET', K.row(id), F.stage, F.reason, F.cancel_asked))
  redis.call('ZREM', K.ingress, job_id)
  if not stage then count('adopted_without_job') end
  local is_retriable = RETRIABLE[stage]
  local is_another = not is_same and K.job(id) == C.ARQ_JOB .. job_id
  local is_over = stage == C.CANCELLED or reason == C.UNREADABLE
  if is_over or (is_retriable and (cancel_asked or is_another)) then
    redis.call('DEL', K.job(id))
  elseif is_retriable then
    redis.call('PEXPIRE', K.job(id), math.max(0, redis.call('PTTL', K.row(id))))
  end
end
