-- Returns the other unproven attempts to a person. What Twilio's list shows may be their messages.
-- ARGV: person, the message that asks, since (ms), most.
-- Returns for each: id, attempt, intent (ms), payload, form. Returns nil when more than `most` are
-- unproven: every attempt of such a crowd asks, and each would read all the others.
-- An attempt is never listed with an instant before its intent, so those listed before `since` can
-- be left out.
-- Keys: meta, person, permits, row, job.
-- Callers: `UnknownStore.rivals`, for the unknown search.

-- include: distinct_digests, follow_pointers, load_row, remove_gone_permit

local person, asking, since, most = follow_pointers(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[4])
local others = redis.call('HGET', K.person(person), F.other_digests)
local entries = {}
for _, digest in ipairs(distinct_digests(person, others)) do
  local listed = { K.permits(digest), since, '+inf', 'LIMIT', 0, most + 1 }
  for _, entry in ipairs(redis.call('ZRANGEBYSCORE', unpack(listed))) do
    entries[#entries + 1] = entry
  end
end
if #entries > most then return false end
local rivals = {}
for _, entry in ipairs(entries) do
  local attempt, id = string.match(entry, '^(%d+):(.*)$')
  if id ~= asking then
    local row = load_row(id)
    if row then
      local intent_at = row.last_intent or row[F.enqueued_at]
      local job = redis.call('GET', K.job(id))
      rivals[#rivals + 1] = { id, attempt, intent_at, job, row.last_form or '' }
    else
      remove_gone_permit(person, entry)
    end
  end
end
return rivals
