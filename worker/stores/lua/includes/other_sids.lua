-- Returns the SIDs other than the row's own.
local function other_sids(row)
  local found = {}
  for sid, line in pairs(row.sids) do
    if sid ~= row[F.message_sid] then found[sid] = line end
  end
  return found
end
