-- include: is_undone, read_hash, stop_scope, withdrawal_of

-- Whether a stop is in force at this sender: one that the person sent to us, or one that is known
-- from its messaging service.
local function is_stopped(digest, account, sender)
  local fields, service = read_hash(K.person(digest)), stop_scope(sender)
  for name in pairs(fields) do
    local of, scope = withdrawal_of(name)
    local is_near = scope == C.ANY or scope == sender or scope == service
    if of == account and is_near and not is_undone(name, fields, service) then return true end
  end
  return false
end
