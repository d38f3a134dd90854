-- Returns what a decision would see now. It changes no record.
-- ARGV: person (its digests), sender, account ('': the sender's own), ContentSid, message id.
-- Keys: meta, sender, account, template, tag_state, person, consents, sent_to.
-- Callers: `PeopleStore.facts`, for the gateway and for commands that only look.

-- include: account_of_sender, clock, read_facts, view_person

local persons, sender, account, content_sid, id = unpack(ARGV)
local now = clock()
if account == '' then account = account_of_sender(sender) end
local answer, person = view_person(persons, function(digest)
  return read_facts(id, digest, sender, account, content_sid, now, {})
end)
answer[1] = person
return answer
