-- include: other_sids

-- Returns the furthest of the other SIDs that are not known to have failed; nil when there is none.
local function other_unfailed_sid(row)
  local best
  for sid, line in pairs(other_sids(row)) do
    local rank = best and row.sids[best].rank or -2
    local is_further = line.rank > rank or (line.rank == rank and sid < best)
    if not line.failure and is_further then best = sid end
  end
  return best
end
