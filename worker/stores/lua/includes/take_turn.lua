-- include: rest, turn_rings

-- Takes the member that has the next turn out of a ring. Returns it and its score, nil when the
-- ring is empty. The caller puts it back, or lets it rest.
local function take_turn(name)
  local found = redis.call('ZPOPMIN', K.ring(name))
  return found[1], found[2]
end

-- Puts a member back that had no turn.
local function return_turn(name, member, score)
  redis.call('ZADD', K.ring(name), score, member)
end

-- Charges the member that had the turn. `before`: what it cost before its last turn, if it had
-- several in a row while no other had work. `has_more`: it goes back into the ring; otherwise
-- others are in it.
local function charge_turn(name, member, score, cost, before, has_more)
  local pass = pass_of(score) + before
  if not times[name] then passes_kept(name, member) end
  if pass > times[name] then times[name], later[name] = pass, true end
  if has_more then
    redis.call('ZADD', K.ring(name), score_of(pass + cost - before), member)
  else
    keep_pass(name, member, pass + cost - before)
  end
end
