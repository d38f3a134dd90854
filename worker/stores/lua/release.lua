-- Gives untouched claims back: no try and no crash is counted, and they keep their place.
-- (a new message is due a millisecond before its enqueue). ARGV: (id, fence). Answers how many were given back.
local now = clock()
local released = 0
for at = 1, #ARGV, 2 do
  local id, fence = ARGV[at], ARGV[at + 1]
  local row = load(id)
  if row and row.s == 'claimed' and row.f == fence then
    redis.call('HSET', K.row(id), 'f', '-' .. fence)
    requeue(id, row, 'queued', 'worker_stopped', math.min(now, tonumber(row.q) - 1), now)
    released = released + 1
  end
end
return released
