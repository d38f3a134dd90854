-- Moves messages of a restored copy that may have been sent since to stage `unknown`, at most 32 in
-- a call.
-- ARGV: where (unknown, leases, suspects, or a lane), from which place on, inner and outer block of
-- the person key, then sender and listing of each sender.
-- Returns the next place, or -1 at the end of the list, and how many were moved.
-- Keys: meta, row, timeline, job, lane, leases, suspects, waiting, unknown, permits, counts; when a
-- person's digests are gathered, person, consents, sent_to, suspected_stops and sender; when proof
-- ends a message, those of `reap.lua`.
-- Callers: `RestoredStore.sweep`.
local MOST = 32
-- The form of an attempt that was never recorded.
local UNTOLD = 'x'
local now = clock()
local from = tonumber(ARGV[2])
local listings = {}
for at = 5, #ARGV, 2 do listings[ARGV[at]] = ARGV[at + 1] end
local got = redis.call('HMGET', K.meta, 'restoring', 'restored_at')
local copied_at, restored_at = tonumber(got[1] or ''), tonumber(got[2] or '')
if not copied_at then return { -1, 0 } end
local LISTS = { unknown = K.unknown, leases = K.leases, suspects = K.suspects }
local key = LISTS[ARGV[1]] or K.lane(ARGV[1])

local function write_mark(id, row, kind, stage, due)
  redis.call('HSET', K.row(id), 'rs', table.concat({ int(row.n), int(restored_at), kind, stage, int(due) }, '|'))
end

local function look_for(id, row, reason)
  leave(id, row)
  redis.call('HSET', K.row(id), 's', 'unknown', 'r', reason, 'f', '0')
  redis.call('ZADD', K.unknown, int(now + lead), id)
  count('unknown')
  note(id, now, 'unknown', '"n":' .. int(row.n) .. ',"reason":"' .. reason .. '"')
  row.s = 'unknown'
end

-- The message was under way in the copy. Its intent is known, and it may have been sent again
-- since.
local function posted(id, row)
  write_mark(id, row, 'p', 'retrying', now)
  if row.s == 'unknown' then
    redis.call('ZADD', K.unknown, int(now + lead), id)
    return
  end
  local proof = proof_of(row)
  if proof then
    accept(id, row, row.sids[proof].n, proof, 'accepted', 'evidence_callback', now)
    return
  end
  if row.p then mark_settled(row.p, mark_of(id, row.n), now) end
  look_for(id, row, 'outcome_restored')
end

-- A message that waits for the person to write is decided at once, and it may wait again. The
-- person may have written in the gap.
local function place_of(id, row)
  local score = redis.call('ZSCORE', K.lane(row.l), id)
  if not score or row.w then return 'queued', now end
  return row.s, math.max(0, tonumber(score) - lead)
end

-- The message was not posted in the copy. Its next attempt may have been posted since, so that
-- number is not used again.
local function waiting(id, row)
  local stage, due = place_of(id, row)
  if row.s == 'claimed' then stage = 'queued' end
  row.n = row.n + 1
  local message = message_of(redis.call('GET', K.job(id)))
  if message and type(message.to) == 'string' then
    row.p = first_of(gather(persons_of(message.to, ARGV[3], ARGV[4])))
    redis.call('ZADD', K.permits(row.p), int(now) .. '.5', mark_of(id, row.n))
    redis.call('PEXPIRE', K.permits(row.p), int(KEEP_ENDED))
    redis.call('HSET', K.row(id), 'p', row.p)
  end
  redis.call('HSET', K.row(id), 'n', int(row.n))
  write_attempt(id, row, row.n, { at = copied_at, form = UNTOLD, template = '' })
  redis.call('HDEL', K.row(id), 'li')
  local listing = listings[sender_of(row.l)]
  if listing then redis.call('HSET', K.row(id), 'li', listing) end
  write_mark(id, row, 'q', stage, due)
  look_for(id, row, 'outcome_restored')
end

local WAITING = { queued = true, waiting = true, retrying = true, claimed = true }

-- Returns whether the message was moved. A message that came after the restore, or was marked
-- before, is not.
local function sweep(id)
  local row = load(id)
  if not row or tonumber(row.q) > restored_at then return false end
  local mark = restored_mark(id, row)
  if mark and mark.at == restored_at and row.s == 'unknown' then return false end
  if WAITING[row.s] then
    waiting(id, row)
  elseif row.s == 'posting' or row.s == 'unknown' then
    posted(id, row)
  else
    return false
  end
  return true
end

local moved, stays = 0, 0
local ids = redis.call('ZRANGE', key, from, from + MOST - 1)
for _, id in ipairs(ids) do
  if sweep(id) then moved = moved + 1 end
  if redis.call('ZSCORE', key, id) then stays = stays + 1 end
end
return { #ids < MOST and -1 or from + stays, moved }
