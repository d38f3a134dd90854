-- Returns what a decision would see now. It changes no record.
-- ARGV: person (its digests), sender, account ('': the sender's own), ContentSid, message id.
-- Keys: meta, sender, account, template, tag_state, person, consents, sent_to.
-- Callers: `PeopleStore.facts`, for the gateway and for commands that only look.
local now = clock()
local account = ARGV[3] ~= '' and ARGV[3] or (redis.call('HGET', K.sender(ARGV[2]), 'a') or '')
local answer, person = peek(ARGV[1], function(digest)
  return facts_of(ARGV[5], digest, ARGV[2], account, ARGV[4], now, {})
end)
answer[1] = person
return answer
