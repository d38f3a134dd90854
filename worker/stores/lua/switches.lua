-- Applies what an operator switches.
-- ARGV: 'pause' | 'resume' | 'reset', 'sender' | 'account' | 'template' | 'tag_state', name, and
-- for 'pause' its length (ms) and reason.
-- Returns 1, or 0 when nothing changed.
-- After a pause ends, the lanes that it held back are looked at again at once. A lane that is still
-- paused costs one look.
-- Keys: meta, sender, account, template, tag_state, timers, lane, ready, wake.
-- Callers: `PauseStore.pause`, `resume` and `reset`, for the operator's commands.
local now = clock()
local action, kind, name = ARGV[1], ARGV[2], ARGV[3]
local key = K[kind](name)

local function look_again()
  for _, lane in ipairs(redis.call('ZRANGE', K.timers, 0, -1)) do
    local first = redis.call('ZRANGE', K.lane(lane), 0, 0, 'WITHSCORES')
    if not first[2] then
      redis.call('ZREM', K.timers, lane)
      redis.call('HDEL', K.meta, look_at(lane))
    elseif tonumber(first[2]) <= now + lead then
      make_ready(lane)
    end
  end
end

if action == 'pause' then
  redis.call('HSET', key, 'until', int(now + tonumber(ARGV[4])), 'reason', ARGV[5])
else
  local removed = redis.call('HDEL', key, 'until', 'reason', 'state', 'message')
  if removed == 0 then return 0 end
  if action == 'resume' then look_again() end
end
bump(key)
return 1
