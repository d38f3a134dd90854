-- include: raise_revision

-- A dead tag stays dead until an operator resets it. An attempt in flight no longer matters to
-- it.
local function set_tag_state(sender, state, reason)
  local key = K.tag_state(sender)
  local before = redis.call('HGET', key, F.state)
  if before == C.TAG_DEAD or before == state then return end
  redis.call('HSET', key, F.state, state, F.state_reason, reason)
  redis.call('HDEL', key, F.tag_message, F.state_until)
  raise_revision(key)
end
