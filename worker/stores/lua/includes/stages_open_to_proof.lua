-- Stages of a message without a proven outcome, which proof of acceptance ends. `posting` is not
-- among them, because its own reply is awaited.
local OPEN_TO_PROOF = C.OPEN_TO_PROOF
