-- include: other_sids

-- Returns the SID that ends the message if the reply that we wait for proves nothing. It prefers a
-- SID of the attempt in flight, then one that is not known to have failed, then the furthest. A SID
-- whose failure began another life does not qualify.
local function proof_of(row)
  local best
  local function is_better(sid, line)
    if not best then return true end
    local other = row.sids[best]
    local own, others_own = line.n == row[F.attempt], other.n == row[F.attempt]
    if own ~= others_own then return own end
    if (line.failure or false) ~= (other.failure or false) then return not line.failure end
    if line.rank ~= other.rank then return line.rank > other.rank end
    return sid < best
  end
  for sid, line in pairs(other_sids(row)) do
    if not line.reopened and is_better(sid, line) then best = sid end
  end
  return best
end
