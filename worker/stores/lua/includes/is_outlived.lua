-- include: read_instant

-- Whether what an attempt of that instant taught is over, because the person has written since,
-- to a sender of the account (nil: to any), or because an operator has allowed them since.
local function is_outlived(digest, account, at, ends_by_inbound)
  local fields = redis.call('HGETALL', K.person(digest))
  for index = 1, #fields, 2 do
    local name, when = fields[index], read_instant(fields[index + 1]) or -1
    if name == F.allowed_at and when >= at then return true end
    local sender = ends_by_inbound and string.match(name, '^' .. F.window .. '(.*)$')
    if sender and when >= at then
      local of = sender ~= '?' and redis.call('HGET', K.sender(sender), F.account)
      -- The account of the unknown sender `?` is not known, so it counts for every account.
      if not account or not of or of == account then return true end
    end
  end
  return false
end
