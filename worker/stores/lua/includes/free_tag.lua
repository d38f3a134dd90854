-- include: raise_revision

-- The unproven message is no longer on its way, so the next one may try.
local function free_tag(sender, id)
  local key = K.tag_state(sender)
  if redis.call('HGET', key, F.tag_message) ~= id then return end
  redis.call('HDEL', key, F.tag_message, F.state_until)
  raise_revision(key)
end
