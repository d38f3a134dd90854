-- include: read_instant, withdrawal_of

-- Whether a later START undid a withdrawal. `fields`: the person's fields, by name. `service`: the
-- messaging service that the scope is in now, or false.
-- A START to one sender of a service counts for the senders that were in the service then, which
-- `opt_in` records, and for those that are in it now.
local function is_undone(name, fields, service)
  local account, scope, met_in = withdrawal_of(name)
  local withdrawn = read_instant(fields[name])
  local places = {
    scope,
    met_in and scope .. '|' .. met_in or scope,
    met_in == service and met_in or scope,
  }
  for _, place in ipairs(places) do
    local started = read_instant(fields[F.started .. account .. '|' .. place])
    if withdrawn and started and started > withdrawn then return true end
  end
  return false
end
