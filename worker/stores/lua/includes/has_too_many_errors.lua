-- include: int, read_instant, source_of

-- Whether there are too many errors like this one to believe them: more than a number, and more
-- than a share, of the sender's last attempts.
-- Each attempt counts once, at the number that the sender's attempts had reached when its error
-- came in. `guard`: attempts, percent, errors.
local function has_too_many_errors(who, guard)
  local key = K.errors_of(who.sender)
  local span, percent, most = guard[1], guard[2], guard[3]
  local made = read_instant(redis.call('HGET', K.sender(who.sender), F.admitted)) or 0
  local is_new = redis.call('ZADD', key, 'NX', int(made), source_of(who)) == 1
  redis.call('ZREMRANGEBYSCORE', key, '-inf', int(made - span))
  -- This many errors exceed both limits, however many attempts there were, so we need not count
  -- more.
  local enough = math.max(most, math.floor(span * percent / 100)) + 1
  redis.call('ZREMRANGEBYRANK', key, 0, -(enough + 1))
  local errors = redis.call('ZCARD', key)
  return errors > most and errors * 100 > percent * math.min(math.max(made, 1), span), is_new
end
