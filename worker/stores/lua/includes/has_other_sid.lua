-- Whether another SID of the message is known. A SID that failed, so that the message was sent
-- again, does not count.
local function has_other_sid(row, sid)
  if row[F.stage] == C.ACCEPTED then return true end
  for name, line in pairs(row.sids) do
    if name ~= sid and not line.reopened then return true end
  end
  return false
end
