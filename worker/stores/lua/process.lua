-- Records that a process is alive, and decides whether it may work. All of that is one step, so that
-- of two processes that cannot work at the same time only one begins.
-- ARGV: process id, how long (ms) it counts as alive, first and last layout that it can read and
-- write, '1' if it works now, JSON object to record if it works, JSON object to record if it waits.
-- Returns the clock (ms), 1 while the store is marked as restored from a copy, else 0, and then the
-- id and the JSON object of each process in whose presence this process must not work.
-- Keys: meta, process, processes.
-- Callers: `ProcessStore.report`.
local now = clock()
local first, last = tonumber(ARGV[3]), tonumber(ARGV[4])

-- A process that waits is in no process's way. A release that reports no layouts is older than this
-- rule, so it never waits. Whatever cannot be read was written by a release that we do not know.
local function is_in_the_way(value)
  local is_readable, process = pcall(cjson.decode, value)
  if not is_readable or type(process) ~= 'table' then return true end
  if process.waits == 1 then return false end
  local layouts = type(process.layouts) == 'table' and process.layouts or {}
  local its_first, its_last = tonumber(layouts[1]), tonumber(layouts[2])
  return not its_first or not its_last or its_last < first or last < its_first
end

local answer = { int(now), redis.call('HEXISTS', K.meta, 'restoring') }
for _, id in ipairs(redis.call('ZRANGE', K.processes, 0, -1)) do
  local value = id ~= ARGV[1] and redis.call('GET', K.process(id))
  if value and is_in_the_way(value) then
    answer[#answer + 1] = id
    answer[#answer + 1] = value
  elseif id ~= ARGV[1] and not value then
    redis.call('ZREM', K.processes, id)
  end
end
-- A process that works is recorded as working until it has stopped, although it has to stop.
local works = ARGV[5] == '1' or #answer == 2
redis.call('SET', K.process(ARGV[1]), works and ARGV[6] or ARGV[7], 'PX', ARGV[2])
redis.call('ZADD', K.processes, int(now), ARGV[1])
redis.call('HSET', K.meta, 'alive_at', int(now))
return answer
