-- Stages of ended messages that an operator may retry. Such a message keeps its job as long as its
-- row.
local RETRIABLE = C.RETRIABLE
