-- include: counts_as_cancelled

-- Stages of a message without a proven outcome, which proof of acceptance ends. `posting` is not
-- among them, because its own reply is awaited.
local OPEN_TO_PROOF = C.OPEN_TO_PROOF

-- Whether proof of acceptance ends the message. A message that counts as cancelled has ended for
-- every reader, so what comes now is late evidence, as it is for one whose end is recorded.
local function is_open_to_proof(row)
  return OPEN_TO_PROOF[row[F.stage]] and not counts_as_cancelled(row)
end
