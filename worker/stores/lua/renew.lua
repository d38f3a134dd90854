-- Renews leases.
-- ARGV: lease (ms), then (id, fence).
-- Returns the ids that the caller no longer holds.
-- Keys: meta, row, leases.
-- Callers: `LedgerStore.renew`, for the claimer.
local now = clock()
local lost = {}
for at = 2, #ARGV, 2 do
  local id = ARGV[at]
  local got = redis.call('HMGET', K.row(id), 's', 'f')
  if got[2] == ARGV[at + 1] and (got[1] == 'claimed' or got[1] == 'posting') then
    redis.call('ZADD', K.leases, int(now + lead + tonumber(ARGV[1])), id)
  else
    lost[#lost + 1] = id
  end
end
return lost
