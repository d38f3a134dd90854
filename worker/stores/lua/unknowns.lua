-- Takes unknown attempts whose search for evidence is due; none is handed out again before the given time.
-- ARGV: limit, again after (ms).
-- Answers now, then id, attempt, intent, on_unknown, expires, payload, looks before, reason, person, form, listing, poison (1 or 0),
-- how many of its attempts are in doubt, ContentSid ('' for none), for each.
local now = clock()
local taken = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', K.unknown, '-inf', int(now + lead), 'LIMIT', 0, tonumber(ARGV[1]))) do
  local row = load(id)
  if row and row.s == 'unknown' then
    redis.call('ZADD', K.unknown, int(now + lead + tonumber(ARGV[2])), id)
    local looks = redis.call('HINCRBY', K.row(id), 'lo', 1) - 1
    taken[#taken + 1] = {
      id, row.n, row.i or row.q, row.u, row.e, redis.call('GET', K.job(id)), looks, row.r or '', row.p or '', row.fm or '',
      redis.call('HGET', K.row(id), 'li') or '', row.po and 1 or 0,
      doubts_of(id, row), row.fm ~= 'f' and intent_note(id, row.n).template or '',
    }
  else
    redis.call('ZREM', K.unknown, id)
  end
end
return { int(now), taken }
