-- Wakes another claimer in place of this one, which has no room for what is due. A wake is handed
-- on once, so that claimers without room do not wake each other forever.
local function hand_wake_on()
  redis.call('LPUSH', K.wake, C.HANDED_ON)
  redis.call('LTRIM', K.wake, 0, C.MAX_WAKE_TOKENS - 1)
end
