-- Adds one to a total of the store.
local function count(name)
  redis.call('HINCRBY', K.counts, name, 1)
end
