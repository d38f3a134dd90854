-- include: account_of_sender, follow_pointers, intent_of, relied_on_tag, sender_of, sent_of

-- Returns whom and what a report on an attempt is about: person, sender, account and template, and
-- what the attempt was.
local function subject_of(id, row, n)
  local attempt, sender, person = row.attempts[n], sender_of(row[F.lane]), row[F.person]
  return {
    digest = person and follow_pointers(person),
    sender = sender,
    account = account_of_sender(sender),
    template = attempt and attempt.template,
    id = id,
    attempt = n,
    sent = sent_of(row, n),
    relied_on_tag = relied_on_tag(row, n),
    intent = intent_of(row, n),
  }
end
