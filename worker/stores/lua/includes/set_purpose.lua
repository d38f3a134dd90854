-- include: append_to_ledger, int, unite_consent

-- Grants or withdraws one purpose by its name. `line`: source and evidence of the ledger line.
-- `expires`: ms, nil for never.
local function set_purpose(person, account, purpose, sender, granted, at, expires, line)
  local entry = {
    at = at,
    granted = granted,
    account = account,
    purpose = purpose,
    sender = sender ~= C.ANY and sender or nil,
    expires_at = expires,
  }
  for name, value in pairs(line) do entry[name] = value end
  append_to_ledger(person, entry)
  local key, scope = K.person(person), account .. '|' .. purpose .. '|' .. sender
  if granted then
    local ends = expires and int(expires) or ''
    unite_consent(key, F.grants .. scope, '1:' .. int(at) .. ':' .. ends)
  else
    unite_consent(key, F.purpose_withdrawn .. scope, int(at))
  end
end
