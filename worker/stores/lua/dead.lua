-- What a person decides about a dead letter. Safe to repeat.
-- ARGV: 'replay' | 'replay_even_if_sent' | 'drop', expires at (ms, of a replayed message), message ids.
-- Answers for each 'replayed', 'dropped', 'not_dead', 'unknown_id', 'no_job' (nothing to send), 'sent' (an attempt is proven and not known to have failed),
-- 'perhaps_sent' (an attempt may have reached the person, and nobody said that this does not matter).
local now = clock()

-- A SID that failed has no copy in what goes out now, as little as one that was sent again for that.
local function make_up_for_failures(id)
  local callbacks = kept_of(id)
  for sid, kept in pairs(callbacks) do
    if kept.failure and not kept.reopened then
      keep_callback(id, sid, kept, true)
    end
  end
end

local function replay(id, row, expires, even_if_sent)
  if row.s ~= 'dead' then return row.r == 'replayed' and 'replayed' or 'not_dead' end
  if other_standing(id) then return 'sent' end
  if (row.ps or row.r == 'never_by_rule') and not even_if_sent then return 'perhaps_sent' end
  if redis.call('EXISTS', K.job(id)) == 0 then return 'no_job' end
  make_up_for_failures(id)
  redis.call('ZREM', K.dead, id)
  redis.call('HINCRBY', K.counts, 'end:dead:' .. row.r, -1)
  count('replayed')
  redis.call('HDEL', K.row(id), 'z', 'k', 'c', 'x', 'rd', 'ps', 'po')
  -- Its tries begin anew: what went out before them is counted, and free.
  redis.call('HSET', K.row(id), 'e', expires, 'fa', int(row.n))
  row.x, row.k = nil, nil
  note(id, now, 'replayed', '"expires":' .. expires)
  requeue(id, row, 'queued', 'replayed', now, now)
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

local answers = {}
for at = 3, #ARGV do
  local id = ARGV[at]
  local row = load(id)
  if not row then
    answers[#answers + 1] = 'unknown_id'
  elseif ARGV[1] == 'drop' then
    answers[#answers + 1] = drop(id, row)
  else
    answers[#answers + 1] = replay(id, row, ARGV[2], ARGV[1] == 'replay_even_if_sent')
  end
end
return answers
