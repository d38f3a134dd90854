-- Returns the parts of the name of a field that dates a withdrawal of everything: account, scope,
-- and the messaging service that the sender was in when the provider refused it, or nil.
local function withdrawal_of(name)
  local account, scope = string.match(name, '^' .. F.opted_out .. '([^|]*)|(.*)$')
  local sender, met_in = string.match(scope or '', '^(.-)|(.*)$')
  return account, sender or scope, met_in
end
