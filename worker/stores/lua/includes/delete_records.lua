-- Deletes what is recorded of a person under a digest, except permits and waiting messages.
local function delete_records(digest)
  redis.call('DEL', K.person(digest), K.consents(digest), K.sent_to(digest))
end
