-- Ends messages whose cancel was asked for while no worker held them. Safe to repeat: a call takes
-- ids from the list, and each message ends once.
-- ARGV: limit.
-- Returns how many ids are left in the list.
-- Keys: meta, cancel_asked, row, timeline, job, unreadable, dead, counts, permits, lane, queued,
-- suspects, waiting.
-- Callers: `LedgerStore.end_cancelled`, for the dispatcher of each worker.

-- include: clock, end_message, expire_ended, in_a_lane, read_count, retriable

local FIELDS = {
  F.stage, F.cancel_asked, F.lane, F.awaited, F.crashes, F.attempt, F.person,
}
local now = clock()

-- Whether this version can read what the end of a message in a lane rests on. A message that it
-- cannot read stays where it is, with its mark, for the workers of a newer version.
local function is_readable(row)
  return row[F.lane] and read_count(row[F.attempt] or '0')
    and (not row[F.awaited] or string.find(row[F.awaited], '|', 1, true))
end

local function end_cancelled(id)
  local got = redis.call('HMGET', K.row(id), unpack(FIELDS))
  local row = {}
  for index, name in ipairs(FIELDS) do row[name] = got[index] or nil end
  local stage = row[F.stage]
  if not row[F.cancel_asked] then return end
  if IN_A_LANE[stage] then
    if is_readable(row) then end_message(id, row, C.CANCELLED, C.CANCELLED, nil, now) end
  elseif stage == C.DEAD then
    -- A dead letter waits for an operator, who could replay it. After a cancel it leaves that list
    -- and is deleted after the usual term. Its stage and reason do not change.
    redis.call('ZREM', K.dead, id)
    expire_ended(id, row)
  elseif RETRIABLE[stage] then
    redis.call('DEL', K.job(id))
  end
end

for _ = 1, tonumber(ARGV[1]) do
  -- An id leaves the list before the work on it begins. If that work fails, the next call goes on
  -- with the ids behind it. The row keeps its mark, so the claim that takes it ends it.
  local id = redis.call('LPOP', K.cancel_asked)
  if not id then break end
  end_cancelled(id)
end
return redis.call('LLEN', K.cancel_asked)
