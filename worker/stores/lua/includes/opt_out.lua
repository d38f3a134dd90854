-- include: append_to_ledger, int, is_undone, read_hash, unite_consent

-- Withdraws consent for all purposes, at one sender or messaging service, or (C.ANY) at every
-- sender of the account.
-- Returns whether that changed anything. It does not when the withdrawal was known, or when a
-- later START has undone it.
local function opt_out(digest, account, sender, at, line)
  local key, name = K.person(digest), F.opted_out .. account .. '|' .. sender
  if not unite_consent(key, name, int(at)) then return false end
  append_to_ledger(digest, line)
  return not is_undone(name, read_hash(key), false)
end
