-- include: follow_pointers, int, is_undone, read_hash, withdrawal_of

-- Returns what the decision looks at of a person: revision, last inbound, closed at, suppressed
-- until and POSTs in the last day; then fields with their values: consent, what errors hold back on
-- the account, a suspected stop, and why the address is suppressed. Also returns the digest that
-- they are kept under.
-- A stop in the sender's messaging service (`service`, false if the sender is in none) appears as
-- the sender's own. A stop that a START undid does not appear.
-- A kind of consent that only a newer version knows is returned as it is, and then the decision
-- permits nothing.
local function read_person(digest, sender, service, account, now)
  local facts = { '0', '', '', '', 0 }
  if digest == '' then return facts, digest end
  local fields = read_hash(K.person(digest))
  if fields[F.moved_to] then
    digest = follow_pointers(digest)
    fields = read_hash(K.person(digest))
    -- The pointer leads nowhere, so the record may be incomplete. The decision permits nothing.
    if fields[F.moved_to] then facts[6], facts[7] = F.moved_to, fields[F.moved_to] end
  end
  facts[1] = fields[F.revision] or '0'
  facts[2] = fields[F.window .. sender] or ''
  facts[3] = fields[F.closed_window .. sender] or ''
  facts[4] = fields[F.suppressed_until] or ''
  facts[5] = redis.call('ZCOUNT', K.sent_to(digest), '(' .. int(now - C.DAY_MS), '+inf')
  local function add(name, value)
    facts[#facts + 1] = name
    facts[#facts + 1] = value
  end
  if fields[F.suppressed_for] then add(F.suppressed_for, fields[F.suppressed_for]) end
  for name, value in pairs(fields) do
    local kind, of = string.match(name, '^(%a+:)([^|]*)|')
    if of == account and kind == F.opted_out then
      local _, place = withdrawal_of(name)
      local is_near = place == C.ANY or place == sender or place == service
      if is_near and not is_undone(name, fields, service) then
        add(place == C.ANY and name or F.opted_out .. account .. '|' .. sender, value)
      end
    elseif of == account and kind ~= F.started or name == F.suspected_stop .. account then
      add(name, value)
    end
  end
  return facts, digest
end
