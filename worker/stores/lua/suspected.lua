-- Decides suspected stops.
-- ARGV: request id, a JSON object: decision ('marketing' or 'all': withdrawn; 'dismiss'), senders
-- (a list: where waiting messages are decided again), stops (a list of person and account).
-- Returns for each how many messages were released, -1 when no stop was suspected.
-- Keys: meta, answered, person, consents, suspected_stops, sender, waiting, row, timeline, lane,
-- ready, marks, timers, wake, counts.
-- Callers: `PeopleStore.decide_suspected`, for the operator's commands.

-- include: answer_once, clear_suspected_stop, clock, count, distinct_digests, follow_pointers
-- include: heard_now, opt_out, release_waiting, set_purpose

local request, asked = ARGV[1], cjson.decode(ARGV[2])
local decision = asked.decision
local now = clock()

local function decide(person, account)
  local sid = clear_suspected_stop(person, account)
  if not sid then return -1 end
  local line = { source = 'suspected', evidence = sid, request = request }
  local at = decision ~= 'dismiss' and heard_now(person, account, false, now)
  if decision == 'marketing' then
    set_purpose(person, account, C.MARKETING, C.ANY, false, at, nil, line)
  elseif decision == 'all' then
    line.at, line.granted, line.account = at, false, account
    if opt_out(person, account, C.ANY, at, line) then count('opted_out:suspected') end
  end
  count(decision == 'dismiss' and 'suspected:dismissed' or 'suspected:confirmed')
  local released = 0
  local others = redis.call('HGET', K.person(person), F.other_digests)
  local digests = distinct_digests(person, others)
  for _, sender in ipairs(asked.senders) do
    released = released + release_waiting(digests, sender, now)
  end
  return released
end

return answer_once(request, 60000, function()
  local answers = {}
  for at, stop in ipairs(asked.stops) do
    local digest, account = unpack(stop)
    answers[at] = decide(follow_pointers(digest), account)
  end
  return answers
end)
