-- Returns the other unproven attempts to a person. What Twilio's list shows may be their messages.
-- ARGV: person, the message that asks, since (ms), most.
-- Returns for each: id, attempt, intent (ms), payload, form. Returns nil when more than `most` are
-- unproven: every attempt of such a crowd asks, and each would read all the others.
-- An attempt is never listed with an instant before its intent, so those listed before `since` can
-- be left out.
-- Keys: meta, person, permits, row, job.
-- Callers: `UnknownStore.rivals`, for the unknown search.
local most = tonumber(ARGV[4])
local person = resolve(ARGV[1])
local entries = {}
for _, digest in ipairs(all_of(person, redis.call('HGET', K.person(person), 'sp'))) do
  for _, entry in ipairs(redis.call('ZRANGEBYSCORE', K.permits(digest), ARGV[3], '+inf', 'LIMIT', 0, most + 1)) do
    entries[#entries + 1] = entry
  end
end
if #entries > most then return false end
local rivals = {}
for _, entry in ipairs(entries) do
  local attempt, id = string.match(entry, '^(%d+):(.*)$')
  if id ~= ARGV[2] then
    local row = load(id)
    if not row then forget_gone(resolve(ARGV[1]), entry) end
    if row then rivals[#rivals + 1] = { id, attempt, row.i or row.q, redis.call('GET', K.job(id)), row.fm or '' } end
  end
end
return rivals
