-- Returns untouched claims to their lanes. This counts neither as a try nor as a crash, and the
-- messages keep their place (a new message is due a millisecond before its enqueue). Safe to
-- repeat.
-- The fence gets a mark. A settlement that arrives afterwards is late, and what it proves is kept.
-- ARGV: (id, fence).
-- Returns for each the stage that it came to, '' when this fence did not hold it. A message that
-- was asked to be cancelled ends.
-- Keys: meta, row, leases, lane, ready, timers, wake, waiting; for a message that ends timeline,
-- job, unreadable, permits, counts.
-- Callers: `LedgerStore.release`, for the claimer.
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
