-- Gives untouched claims back: no try and no crash is counted, and they keep their place
-- (a new message is due a millisecond before its enqueue). Safe to repeat.
-- The fence gets a mark of its own: a settlement that arrives later is late, and what it proves is kept.
-- ARGV: (id, fence). Answers for each the stage it came to, '' when it was not held like this. Who was asked to cancel ends.
local now = clock()
local answers = {}
for at = 1, #ARGV, 2 do
  local id, fence = ARGV[at], ARGV[at + 1]
  local row = load(id)
  local stage = ''
  if row and row.s == 'claimed' and row.f == fence then
    redis.call('HSET', K.row(id), 'f', '~' .. fence)
    requeue(id, row, 'queued', 'worker_stopped', math.min(now, (instant(row.q) or now) - 1), now)
    stage = row.s
  elseif row and (row.f == '~' .. fence or row.f == '-' .. fence) then
    stage = row.s
  end
  answers[#answers + 1] = stage
end
return answers
