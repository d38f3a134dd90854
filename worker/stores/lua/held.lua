-- Applies or discards held effects, as an operator decides.
-- ARGV: request id, 'apply' or 'discard', sender, how many at most.
-- Returns how many were taken, and how many are left. An effect is applied under the date of its
-- attempt, so what the person has done since outranks it.
-- Keys: meta, answered, held, person, consents, sender, account, template, tag_state, counts.
-- Callers: `HeldStore.decide`, for the operator's commands.

-- include: answer_once, clock, effects, try_decode

local now = clock()
local action, sender, limit = ARGV[2], ARGV[3], tonumber(ARGV[4])

return answer_once(ARGV[1], C.HOUR_MS, function()
  local key, taken = K.held(sender), 0
  while taken < limit do
    local line = redis.call('LPOP', key)
    if not line then break end
    taken = taken + 1
    local kept = try_decode(line)
    if kept and action == 'apply' then EFFECTS[kept.effect.t](kept.effect, kept, now) end
  end
  return { taken, redis.call('LLEN', key) }
end)
