-- Makes messages due again that a worker took to look for and did not look for. Safe to repeat.
-- ARGV: 'unknown' or 'undelivered', message ids. Returns OK.
-- Keys: meta, row, unknown, undelivered.
-- Callers: `UnknownStore.give_back` and `still_missing`.
local now = clock()
for at = 2, #ARGV do
  local id = ARGV[at]
  local row = load(id)
  if row and ARGV[1] == 'unknown' and row.s == 'unknown' then
    local due = redis.call('ZSCORE', K.unknown, id)
    if due and tonumber(due) > now + lead then
      redis.call('ZADD', K.unknown, int(now + lead), id)
      redis.pcall('HINCRBY', K.row(id), 'lo', -1)
    end
  elseif row and ARGV[1] == 'undelivered' and row.s == 'accepted' then
    redis.call('ZADD', K.undelivered, 'XX', instant(row.z) and row.z or int(now), id)
  end
end
return redis.status_reply('OK')
