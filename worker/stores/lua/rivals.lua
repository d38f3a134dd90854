-- The other unproven attempts to a person: what Twilio's list shows may be theirs.
-- ARGV: person, the message that asks. Answers id, attempt, intent (ms), payload, form for each.
local rivals = {}
for _, entry in ipairs(redis.call('ZRANGE', K.permits(resolve(ARGV[1])), 0, -1)) do
  local attempt, id = string.match(entry, '^(%d+):(.*)$')
  if id ~= ARGV[2] then
    local row = load(id)
    if row then rivals[#rivals + 1] = { id, attempt, row.i or row.q, redis.call('GET', K.job(id)), row.fm or '' } end
  end
end
return rivals
