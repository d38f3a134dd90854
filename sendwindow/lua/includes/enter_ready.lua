-- include: int

-- How many marks of one sender are told apart, and how many marks after them.
local MAX_MARKS_OF_SENDER, MAX_MARKS_IN_ALL = 100000, 1e9
-- Puts urgent lanes before others.
local URGENT = -1e15
-- The field that counts the marks of all senders. No sender is called so.
local ALL = '|'

-- Returns the place of a mark: urgent lanes before others, then the first lane of each sender, the
-- second of each, and so on, by arrival. So a sender that fills a thousand lanes at once does not
-- keep another waiting until all of them are in the rings.
local function order_of(lane)
  local sender, priority = string.match(lane, '^(.-)|(.-)|')
  local number = redis.call('HINCRBY', K.marks, sender or lane, 1)
  local arrival = redis.call('HINCRBY', K.marks, ALL, 1)
  local order = math.min(number, MAX_MARKS_OF_SENDER) * MAX_MARKS_IN_ALL + arrival
  return priority == 'urgent' and order + URGENT or order
end

-- Marks a lane that has due messages, for the next claim. Returns false when it was marked already.
local function enter_ready(lane)
  if redis.call('ZSCORE', K.ready, lane) then return false end
  redis.call('ZADD', K.ready, int(order_of(lane)), lane)
  redis.call('ZREM', K.timers, lane)
  return true
end
