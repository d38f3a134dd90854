-- include: append_to_ledger, int, unite_consent

-- Withdraws consent for marketing on an account. A grant that came after the attempt outranks it.
-- Returns whether that changed anything.
local function withdraw_marketing(who, at, evidence)
  local scope = who.account .. '|' .. C.MARKETING .. '|' .. C.ANY
  if not unite_consent(K.person(who.digest), F.purpose_withdrawn .. scope, int(at)) then
    return false
  end
  append_to_ledger(who.digest, {
    at = at,
    granted = false,
    account = who.account,
    purpose = C.MARKETING,
    source = 'provider',
    evidence = evidence,
  })
  return true
end
