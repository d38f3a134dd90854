-- Renews leases.
-- ARGV: lease (ms), then (id, fence).
-- Returns the ids that the caller no longer holds.
-- Keys: meta, row, leases.
-- Callers: `LedgerStore.renew`, for the claimer.

-- include: clock, int

local lease = tonumber(ARGV[1])
local now = clock()
local lost = {}
for at = 2, #ARGV, 2 do
  local id = ARGV[at]
  local stage, fence = unpack(redis.call('HMGET', K.row(id), F.stage, F.fence))
  if fence == ARGV[at + 1] and (stage == C.CLAIMED or stage == C.POSTING) then
    redis.call('ZADD', K.leases, int(now + lead + lease), id)
  else
    lost[#lost + 1] = id
  end
end
return lost
