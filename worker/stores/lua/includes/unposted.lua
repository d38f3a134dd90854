-- Stages of messages that no attempt of this round was posted for.
local UNPOSTED = C.UNPOSTED
