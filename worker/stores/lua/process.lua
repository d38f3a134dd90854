-- Records that a process is alive, and decides whether it may work. All of that is one step, so
-- that of two processes that cannot work at the same time only one begins.
-- ARGV: a JSON object, the entry to record if the process works, the entry to record if it waits
-- (both JSON objects). The first object: process (its id), alive_for (ms), layouts (first and last
-- that it can read and write), is_working.
-- Returns the clock (ms), 1 while the store is marked as restored from a copy, else 0, and then the
-- id and the entry of each process in whose presence this process must not work.
-- Keys: meta, process, processes.
-- Callers: `ProcessStore.report`.

-- include: clock, int, try_decode

local asked, working_entry, waiting_entry = cjson.decode(ARGV[1]), ARGV[2], ARGV[3]
local own_id = asked.process
local first, last = unpack(asked.layouts)
local now = clock()

-- A process that waits is in no process's way. A release that reports no layouts is older than this
-- rule, so it never waits. Whatever cannot be read was written by a release that we do not know.
local function is_in_the_way(entry)
  local process = try_decode(entry)
  if not process then return true end
  if process.waits == 1 then return false end
  local layouts = type(process.layouts) == 'table' and process.layouts or {}
  local its_first, its_last = tonumber(layouts[1]), tonumber(layouts[2])
  return not its_first or not its_last or its_last < first or last < its_first
end

local answer = { int(now), redis.call('HEXISTS', K.meta, 'restoring') }
for _, id in ipairs(redis.call('ZRANGE', K.processes, 0, -1)) do
  local entry = id ~= own_id and redis.call('GET', K.process(id))
  if entry and is_in_the_way(entry) then
    answer[#answer + 1] = id
    answer[#answer + 1] = entry
  elseif id ~= own_id and not entry then
    redis.call('ZREM', K.processes, id)
  end
end
-- A process that works is recorded as working until it has stopped, although it has to stop.
local works = asked.is_working or #answer == 2
local entry = works and working_entry or waiting_entry
redis.call('SET', K.process(own_id), entry, 'PX', int(asked.alive_for))
redis.call('ZADD', K.processes, int(now), own_id)
redis.call('HSET', K.meta, 'alive_at', int(now))
return answer
