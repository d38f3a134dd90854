-- Stages of messages that are in a lane, or among the suspects, until a worker claims them.
local IN_A_LANE = C.IN_A_LANE
