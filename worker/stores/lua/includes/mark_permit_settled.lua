-- include: int

-- Marks a permit as used up although its attempt stays listed.
local function mark_permit_settled(person, attempt, now)
  redis.call('ZADD', K.permits(person), 'XX', int(now) .. '.5', attempt)
end
