-- include: last_word

-- Returns the date of a grant or withdrawal that is heard now. It is later than every earlier
-- word, even if the clock was set back since. Otherwise, after a failover to a host whose clock
-- is seconds behind, an earlier grant would outrank a stop.
local function heard_now(digest, account, granted, now)
  return math.max(math.floor(now), last_word(digest, account, not granted) + 1)
end
