-- Moves messages of a restored copy that may have been sent since to stage `unknown`, at most 32 in
-- a call. A message in it that was asked to be cancelled, and not posted, ends.
-- ARGV: a JSON object, inner and outer block of the person key. The object: list (unknown, leases,
-- suspects, or a lane), start (from which place on), listings (sender → which of Twilio's lists
-- shows its messages).
-- Returns the next place, or -1 at the end of the list, and how many were moved.
-- Keys: meta, row, timeline, job, lane, leases, suspects, waiting, unknown, permits, counts; when a
-- person's digests are gathered, person, consents, sent_to, suspected_stops and sender; when a
-- message ends, dead, unreadable and those of `reap.lua`.
-- Callers: `RestoredStore.sweep`.

-- include: accept, add_to_timeline, attempt_key, attempt_line, clock, count, end_message
-- include: first_digest, gather, int, load_row, mark_permit_settled, message_of, persons_of
-- include: proof_of, remove_from_place, restored_mark, sender_of, unposted

local MAX_MOVED_MESSAGES = 32
-- The form of an attempt that was never recorded.
local UNRECORDED = 'x'
local asked, inner, outer = cjson.decode(ARGV[1]), ARGV[2], ARGV[3]
local now = clock()
local got = redis.call('HMGET', K.meta, 'restoring', 'restored_at')
local copied_at, restored_at = tonumber(got[1] or ''), tonumber(got[2] or '')
if not copied_at then return { -1, 0 } end
local LISTS = { unknown = K.unknown, leases = K.leases, suspects = K.suspects }
local key = LISTS[asked.list] or K.lane(asked.list)

local function write_mark(id, row, kind, stage, due)
  local parts = { int(row[F.attempt]), int(restored_at), kind, stage, int(due) }
  redis.call('HSET', K.row(id), F.restored, table.concat(parts, '|'))
end

local function look_for(id, row, reason)
  remove_from_place(id, row)
  redis.call('HSET', K.row(id), F.stage, C.UNKNOWN, F.reason, reason, F.fence, '0')
  redis.call('ZADD', K.unknown, int(now + lead), id)
  count('unknown')
  add_to_timeline(id, now, 'unknown', { n = row[F.attempt], reason = reason })
  row[F.stage] = C.UNKNOWN
end

-- The message was under way in the copy. Its intent is known, and it may have been sent again
-- since.
local function sweep_posted(id, row)
  write_mark(id, row, 'p', C.RETRYING, now)
  if row[F.stage] == C.UNKNOWN then
    redis.call('ZADD', K.unknown, int(now + lead), id)
    return
  end
  local proof = proof_of(row)
  if proof then
    accept(id, row, row.sids[proof].n, proof, C.ACCEPTED, C.EVIDENCE_CALLBACK, now)
    return
  end
  if row[F.person] then
    mark_permit_settled(row[F.person], attempt_key(id, row[F.attempt]), now)
  end
  look_for(id, row, C.OUTCOME_RESTORED)
end

-- A message that waits for the person to write is decided at once, and it may wait again. The
-- person may have written in the gap.
local function place_of(id, row)
  local score = redis.call('ZSCORE', K.lane(row[F.lane]), id)
  if not score or row[F.awaited] then return C.QUEUED, now end
  return row[F.stage], math.max(0, tonumber(score) - lead)
end

-- The message was not posted in the copy. Its next attempt may have been posted since, so that
-- number is not used again.
local function sweep_unposted(id, row)
  local stage, due = place_of(id, row)
  if row[F.stage] == C.CLAIMED then stage = C.QUEUED end
  row[F.attempt] = row[F.attempt] + 1
  local message = message_of(redis.call('GET', K.job(id)))
  if message and type(message.to) == 'string' then
    row[F.person] = first_digest(gather(persons_of(message.to, inner, outer)))
    redis.call('ZADD', K.permits(row[F.person]), int(now) .. '.5', attempt_key(id, row[F.attempt]))
    redis.call('PEXPIRE', K.permits(row[F.person]), int(C.KEEP_ENDED_MS))
    redis.call('HSET', K.row(id), F.person, row[F.person])
  end
  redis.call('HSET', K.row(id), F.attempt, int(row[F.attempt]))
  write_attempt(id, row, row[F.attempt], { at = copied_at, form = UNRECORDED, template = '' })
  redis.call('HDEL', K.row(id), F.listing)
  local listing = asked.listings[sender_of(row[F.lane])]
  if listing then redis.call('HSET', K.row(id), F.listing, listing) end
  write_mark(id, row, 'q', stage, due)
  look_for(id, row, C.OUTCOME_RESTORED)
end

-- Returns whether the message was moved. A message that came after the restore, or was marked
-- before, is not.
local function sweep(id)
  local row = load_row(id)
  if not row or tonumber(row[F.enqueued_at]) > restored_at then return false end
  local mark = restored_mark(id, row)
  if mark and mark.at == restored_at and row[F.stage] == C.UNKNOWN then return false end
  if UNPOSTED[row[F.stage]] and row[F.cancel_asked] then
    -- No POST began after the cancel, so there is nothing to look for.
    end_message(id, row, C.CANCELLED, C.CANCELLED, nil, now)
    return false
  elseif UNPOSTED[row[F.stage]] then
    sweep_unposted(id, row)
  elseif row[F.stage] == C.POSTING or row[F.stage] == C.UNKNOWN then
    sweep_posted(id, row)
  else
    return false
  end
  return true
end

local moved, stays = 0, 0
local ids = redis.call('ZRANGE', key, asked.start, asked.start + MAX_MOVED_MESSAGES - 1)
for _, id in ipairs(ids) do
  if sweep(id) then moved = moved + 1 end
  if redis.call('ZSCORE', key, id) then stays = stays + 1 end
end
return { #ids < MAX_MOVED_MESSAGES and -1 or asked.start + stays, moved }
