-- Applies what an operator switches.
-- ARGV: 'pause' | 'resume' | 'reset', 'sender' | 'account' | 'template' | 'tag_state', name, and
-- for 'pause' its length (ms) and reason.
-- Returns 1, or 0 when nothing changed.
-- A sender or an account whose pause ends has its turns again at once. What is paused is parked by
-- the claim that meets it.
-- Keys: meta, sender, account, template, tag_state, parked, ring, rested, wake.
-- Callers: `PauseStore.pause`, `resume` and `reset`, for the operator's commands.

-- include: clock, close_breaker, int, key_of_kind, parked_as, raise_revision, turn_rings, unpark
-- include: wake_claimer

local now = clock()
local action, kind, name, length, reason = unpack(ARGV)
local key = KEY_OF_KIND[kind](name)

if action == 'pause' then
  local ends = int(now + tonumber(length))
  redis.call('HSET', key, F.state_until, ends, F.state_reason, reason, F.paused_at, int(now))
  redis.call('ZADD', K.parked, 'XX', ends, parked_as(kind, name))
else
  redis.call('HDEL', key, F.paused_at)
  local removed = redis.call('HDEL', key, F.state_until, F.state_reason, F.state,
    F.tag_message)
  if action == 'resume' and kind == 'account' then removed = removed + close_breaker(name) end
  if action == 'resume' and (kind == 'sender' or kind == 'account') then
    unpark(kind, name)
    save_rings()
    wake_claimer()
  end
  if removed == 0 then return 0 end
end
raise_revision(key)
return 1
