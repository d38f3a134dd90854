-- include: rest

-- Takes a member out of a ring. Returns whether the ring is empty now.
local function leave_ring(name, member)
  local score = redis.call('ZSCORE', K.ring(name), member)
  if score then redis.call('ZREM', K.ring(name), member) end
  if is_empty(name) then
    forget_ring(name)
    return true
  end
  if score then keep_pass(name, member, pass_of(score)) end
  return false
end
