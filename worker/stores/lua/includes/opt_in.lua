-- include: int, is_undone, read_hash, stop_scope, unite_consent, withdrawal_of

-- Undoes withdrawals of everything before `at`: what was granted before them counts again.
-- Returns whether one was undone.
local function opt_in(digest, account, senders, at)
  local key, started = K.person(digest), F.started .. account .. '|'
  local fields, is_meant, undone = read_hash(key), {}, false
  for _, sender in ipairs(senders) do is_meant[sender] = true end
  for name, withdrawn in pairs(fields) do
    local of, scope, met_in = withdrawal_of(name)
    local is_along = met_in and is_meant[met_in] and stop_scope(scope) == met_in
    if of == account and (is_meant[scope] or is_along) then
      local is_past = is_undone(name, fields, stop_scope(scope))
      undone = undone or not is_past and (tonumber(withdrawn) or math.huge) < at
      if is_along then unite_consent(key, started .. scope .. '|' .. met_in, int(at)) end
    end
  end
  for scope in pairs(is_meant) do unite_consent(key, started .. scope, int(at)) end
  return undone
end
