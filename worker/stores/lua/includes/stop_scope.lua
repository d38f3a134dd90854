-- Returns where a provider's stop at a sender holds: in its messaging service, if it has one, else
-- at the sender. A START or a grant there undoes it.
local function stop_scope(sender)
  return redis.call('HGET', K.sender(sender), F.service) or sender
end
