-- Decides suspected stops.
-- ARGV: request id, decision ('marketing' or 'all': withdrawn; 'dismiss'), how many senders, their
-- names, then a person and an account for each.
-- Returns for each how many messages were released, -1 when no stop was suspected.
-- Keys: meta, answered, person, consents, suspected_stops, sender, waiting, row, timeline, lane,
-- ready, timers, wake, counts.
-- Callers: `PeopleStore.decide_suspected`, for the operator's commands.
local now = clock()
local request, decision, senders = ARGV[1], ARGV[2], tonumber(ARGV[3])

local function decide(person, account)
  local sid = unsuspect(person, account)
  if not sid then return -1 end
  local line = { source = 'suspected', evidence = sid, request = request }
  if decision == 'marketing' then
    say_purpose(person, account, 'marketing', '*', false, heard_now(person, account, false, now), nil, line)
  elseif decision == 'all' then
    line.at, line.granted, line.account = heard_now(person, account, false, now), false, account
    if opt_out(person, account, '*', line.at, line) then count('opted_out:suspected') end
  end
  count(decision == 'dismiss' and 'suspected:dismissed' or 'suspected:confirmed')
  local released = 0
  local digests = all_of(person, redis.call('HGET', K.person(person), 'sp'))
  for at = 1, senders do released = released + release_all(digests, ARGV[3 + at], now) end
  return released
end

return once(request, 60000, function()
  local answers = {}
  for at = 4 + senders, #ARGV, 2 do answers[#answers + 1] = decide(resolve(ARGV[at]), ARGV[at + 1]) end
  return answers
end)
