-- include: other_unfailed_sid

-- Returns what forbids an operator to send an ended message again, nil when nothing does. The
-- message ended otherwise than as accepted.
local function what_forbids_sending(id, row, even_if_sent)
  if row[F.cancel_asked] then return 'cancelled' end
  if other_unfailed_sid(row) then return 'sent' end
  local maybe_sent = row[F.maybe_sent] or row[F.reason] == C.NEVER_BY_RULE
  if maybe_sent and not even_if_sent then return 'perhaps_sent' end
  if redis.call('EXISTS', K.job(id)) == 0 then return 'no_job' end
end
