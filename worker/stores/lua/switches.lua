-- Applies what an operator switches.
-- ARGV: 'pause' | 'resume' | 'reset', 'sender' | 'account' | 'template' | 'tag_state', name, and
-- for 'pause' its length (ms) and reason.
-- Returns 1, or 0 when nothing changed.
-- After a pause ends, the lanes that it held back are looked at again at once. A lane that is still
-- paused costs one look.
-- Keys: meta, sender, account, template, tag_state, timers, lane, ready, wake.
-- Callers: `PauseStore.pause`, `resume` and `reset`, for the operator's commands.

-- include: clock, expiry_search_field, int, key_of_kind, make_ready, raise_revision

local now = clock()
local action, kind, name, length, reason = unpack(ARGV)
local key = KEY_OF_KIND[kind](name)

local function look_again()
  for _, lane in ipairs(redis.call('ZRANGE', K.timers, 0, -1)) do
    local first = redis.call('ZRANGE', K.lane(lane), 0, 0, 'WITHSCORES')
    if not first[2] then
      redis.call('ZREM', K.timers, lane)
      redis.call('HDEL', K.meta, expiry_search_field(lane))
    elseif tonumber(first[2]) <= now + lead then
      make_ready(lane)
    end
  end
end

if action == 'pause' then
  local ends = int(now + tonumber(length))
  redis.call('HSET', key, F.state_until, ends, F.state_reason, reason)
else
  local removed = redis.call('HDEL', key, F.state_until, F.state_reason, F.state,
    F.tag_message)
  if removed == 0 then return 0 end
  if action == 'resume' then look_again() end
end
raise_revision(key)
return 1
