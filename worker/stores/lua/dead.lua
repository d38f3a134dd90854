-- What a person decides about dead letters, and about messages that were refused, failed or expired. Safe to repeat.
-- ARGV: 'replay' | 'drop' (dead letters) | 'may_retry' (writes nothing) | 'retry', '1' to send also what may have gone out, expires at
-- (ms, of a message that is sent again), message ids.
-- Answers for each 'replayed', 'dropped', 'may_go', 'retried', 'not_dead', 'not_ended', 'unknown_id', 'no_job' (nothing to send),
-- 'cancelled' (its producer wants it no
-- more), 'sent' (an attempt is proven and not known to have failed), 'perhaps_sent' (an attempt may have reached the person, and the
-- operator did not say that this does not matter).
local now = clock()

local function replay(id, row, expires, even_if_sent)
  if row.s ~= 'dead' then return row.r == 'replayed' and 'replayed' or 'not_dead' end
  local hindrance = hinders_sending(id, row, even_if_sent)
  if hindrance then return hindrance end
  redis.call('ZREM', K.dead, id)
  count('replayed')
  send_again(id, row, 'replayed', expires, now)
  return 'replayed'
end

local RETRIED = { refused = true, failed = true, expired = true }

local function retry(id, row, expires, even_if_sent, is_dry)
  if row.s == 'cancelled' then return 'cancelled' end
  if not RETRIED[row.s] then return row.r == 'retried' and 'retried' or 'not_ended' end
  local hindrance = hinders_sending(id, row, even_if_sent)
  if hindrance or is_dry then return hindrance or 'may_go' end
  count('retried')
  send_again(id, row, 'retried', expires, now)
  return 'retried'
end

local function drop(id, row)
  if row.s ~= 'dead' then return 'not_dead' end
  if row.r == 'dropped' then return 'dropped' end
  redis.call('ZREM', K.dead, id)
  redis.call('HINCRBY', K.counts, 'end:dead:' .. row.r, -1)
  count('end:dead:dropped')
  redis.call('HSET', K.row(id), 'r', 'dropped')
  note(id, now, 'dropped')
  redis.call('DEL', K.job(id), K.unreadable(id))
  redis.call('PEXPIRE', K.row(id), KEEP_ENDED)
  redis.call('PEXPIRE', K.timeline(id), KEEP_ENDED)
  return 'dropped'
end

local decision, even_if_sent, expires = ARGV[1], ARGV[2] == '1', ARGV[3]
local answers = {}
for at = 4, #ARGV do
  local id = ARGV[at]
  local row = load(id)
  if not row then
    answers[#answers + 1] = 'unknown_id'
  elseif decision == 'drop' then
    answers[#answers + 1] = drop(id, row)
  elseif decision == 'replay' then
    answers[#answers + 1] = replay(id, row, expires, even_if_sent)
  else
    answers[#answers + 1] = retry(id, row, expires, even_if_sent, decision == 'may_retry')
  end
end
return answers
