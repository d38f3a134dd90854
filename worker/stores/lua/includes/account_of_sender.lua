-- Returns the account that a sender is registered with; '' when there is none.
local function account_of_sender(sender)
  return redis.call('HGET', K.sender(sender), F.account) or ''
end
