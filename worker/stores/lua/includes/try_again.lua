-- include: wake_claimer

-- Has the next claim look whether an account that is parked may send.
local function try_again(account)
  redis.call('ZADD', K.parked, 'XX', 0, 'account|' .. account)
  wake_claimer()
end
