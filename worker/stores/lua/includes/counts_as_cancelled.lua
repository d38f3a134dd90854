-- include: unposted

-- Whether every reader sees a message as cancelled although no worker has recorded that end yet
-- (`effective_row` in sendwindow/protocol.py). `row` has at least stage, cancel_asked and
-- maybe_sent.
local function counts_as_cancelled(row)
  return row[F.cancel_asked] and not row[F.maybe_sent] and UNPOSTED[row[F.stage]] or false
end
