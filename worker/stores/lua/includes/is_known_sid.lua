-- include: attempt_key

-- Whether a SID is known to be of this attempt. `bound`: what the store has bound the SID to.
local function is_known_sid(id, row, attempt, sid, bound)
  return bound == attempt_key(id, attempt) or row.sids[sid] ~= nil
end
