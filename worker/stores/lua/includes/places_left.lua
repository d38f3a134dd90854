-- include: int

-- Returns how many more POSTs an account may have open, nil when nothing limits them. `most`: the
-- registered limit.
local function places_left(account, most, now)
  if not most then return nil end
  return tonumber(most) - redis.call('ZCOUNT', K.open_posts(account), '(' .. int(now), '+inf')
end
