-- Returns untouched claims to their lanes. This counts neither as a try nor as a crash, and the
-- messages keep their place (a new message is due a millisecond before its enqueue). Safe to
-- repeat.
-- The fence gets a mark. A settlement that arrives afterwards is late, and what it proves is kept.
-- ARGV: (id, fence).
-- Returns for each the stage that it came to, '' when this fence did not hold it. A message that
-- was asked to be cancelled ends.
-- Keys: meta, row, leases, lane, queued, ready, marks, timers, expiring, expiries, wake, waiting;
-- for rate limits sender, account, sender_rate, account_rate and parked; for a message that ends
-- timeline, job, unreadable, permits, counts.
-- Callers: `LedgerStore.release`, for the claimer.

-- include: account_of_sender, clock, free_probe, load_row, read_instant, requeue, return_plans
-- include: sender_of

local now = clock()
local answers = {}
for at = 1, #ARGV, 2 do
  local id, fence = ARGV[at], ARGV[at + 1]
  local row = load_row(id)
  local stage = ''
  if row and row[F.stage] == C.CLAIMED and row[F.fence] == fence then
    redis.call('HSET', K.row(id), F.fence, '~' .. fence)
    local due = math.min(now, (read_instant(row[F.enqueued_at]) or now) - 1)
    local sender = sender_of(row[F.lane])
    local account = account_of_sender(sender)
    return_to_plan(sender, account)
    requeue(id, row, C.QUEUED, C.WORKER_STOPPED, due, now)
    free_probe(id, account, 0, now)
    stage = row[F.stage]
  elseif row and (row[F.fence] == '~' .. fence or row[F.fence] == '-' .. fence) then
    stage = row[F.stage]
  end
  answers[#answers + 1] = stage
end
write_returned_plans(now)
return answers
