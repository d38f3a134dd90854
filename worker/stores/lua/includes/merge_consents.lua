-- include: append_to_ledger, raise_revision, try_decode, unite_consent

-- Moves what one record of a person says about consent, its ledger and its projection, into
-- another record of the same person.
-- Afterwards the second record is what it would be if everything had been recorded there, and the
-- first one holds no consent. Safe to repeat. Returns whether there was anything to move.
local function merge_consents(from_digest, into_digest)
  local from, into = K.person(from_digest), K.person(into_digest)
  local moved = false
  local fields = redis.call('HGETALL', from)
  for at = 1, #fields, 2 do
    if string.match(fields[at], '^' .. C.CONSENT_FIELD) then
      unite_consent(into, fields[at], fields[at + 1])
      redis.call('HDEL', from, fields[at])
      moved = true
    end
  end
  local lines = {}
  for _, digest in ipairs({ into_digest, from_digest }) do
    for _, text in ipairs(redis.call('LRANGE', K.consents(digest), 0, -1)) do
      local line = try_decode(text) or {}
      lines[#lines + 1] = { at = tonumber(line.at) or 0, place = #lines, text = text }
      moved = moved or digest == from_digest
    end
  end
  if not moved then return false end
  table.sort(lines, function(one, other)
    if one.at ~= other.at then return one.at < other.at end
    return one.place < other.place
  end)
  redis.call('DEL', K.consents(from_digest), K.consents(into_digest))
  for _, line in ipairs(lines) do redis.call('RPUSH', K.consents(into_digest), line.text) end
  if #lines > C.MAX_LEDGER_LINES then shorten_ledger(K.consents(into_digest)) end
  raise_revision(from)
  raise_revision(into)
  return true
end
