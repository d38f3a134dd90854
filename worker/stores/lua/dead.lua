-- What a person decides about dead letters. Safe to repeat.
-- ARGV: 'replay' | 'drop', '1' to send also what may have gone out, expires at (ms, of a message that is sent again), message ids.
-- Answers for each 'replayed', 'dropped', 'not_dead', 'unknown_id', or what hinders it: 'no_job' (nothing to send), 'cancelled' (its
-- producer wants it no more), 'sent' (an attempt is proven and not known to have failed), 'perhaps_sent' (an attempt may have reached
-- the person, and the operator did not say that this does not matter).
local now = clock()

local function replay(id, row, expires, even_if_sent)
  if row.s ~= 'dead' then return row.r == 'replayed' and row.e == expires and 'replayed' or 'not_dead' end
  local hindrance = hinders_sending(id, row, even_if_sent)
  if hindrance then return hindrance end
  redis.call('ZREM', K.dead, id)
  count('replayed')
  send_again(id, row, 'replayed', expires, now)
  return 'replayed'
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
  else
    answers[#answers + 1] = replay(id, row, expires, even_if_sent)
  end
end
return answers
