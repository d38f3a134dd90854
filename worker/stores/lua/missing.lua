-- Takes accepted messages without a final status; none is handed out again before the given time.
-- ARGV: limit, quiet for (ms), again after (ms), give up after (ms since acceptance). Answers id, attempt, sid, sender for each.
local now = clock()
local quiet, again, give_up = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local taken = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', K.undelivered, '-inf', int(now - quiet), 'LIMIT', 0, tonumber(ARGV[1]))) do
  local row = load(id)
  if not row or row.s ~= 'accepted' then
    redis.call('ZREM', K.undelivered, id)
  elseif now - tonumber(row.z) >= give_up then
    redis.call('ZREM', K.undelivered, id)
    count('status_never_final')
  else
    redis.call('ZADD', K.undelivered, int(now - quiet + again), id)
    taken[#taken + 1] = { id, row.a, row.sid, sender_of(row.l) }
  end
end
return taken
