-- Makes messages due again that a worker took to look for and did not look for. Safe to repeat.
-- ARGV: 'unknown' or 'undelivered', message ids. Returns OK.
-- Keys: meta, row, unknown, undelivered.
-- Callers: `UnknownStore.give_back` and `still_missing`.

-- include: clock, int, load_row, read_instant

local list = ARGV[1]
local now = clock()
for at = 2, #ARGV do
  local id = ARGV[at]
  local row = load_row(id)
  if row and list == 'unknown' and row[F.stage] == C.UNKNOWN then
    local due = redis.call('ZSCORE', K.unknown, id)
    if due and tonumber(due) > now + lead then
      redis.call('ZADD', K.unknown, int(now + lead), id)
      redis.pcall('HINCRBY', K.row(id), F.searches, -1)
    end
  elseif row and list == 'undelivered' and row[F.stage] == C.ACCEPTED then
    local accepted_at = read_instant(row[F.ended_at]) and row[F.ended_at] or int(now)
    redis.call('ZADD', K.undelivered, 'XX', accepted_at, id)
  end
end
return redis.status_reply('OK')
