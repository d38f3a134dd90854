-- Records that a process is alive, and decides whether it may work. All of that is one step, so
-- that of two processes that cannot work at the same time only one begins.
-- ARGV: a JSON object, the entry to record if the process works, the entry to record if it waits
-- (both JSON objects). The first object: process (its id), alive_for (ms), layouts (first and last
-- that it can read and write), is_working.
-- Returns the clock (ms), 1 while the store is marked as restored from a copy, else 0, and then the
-- id and the last entry of each process in whose presence this process must not work.
-- Keys: meta, process, processes.
-- Callers: `ProcessStore.report`.

-- include: clock, int, try_decode

-- No process reported for this long: the store was away, or all processes had stopped.
local SILENCE_MS = 10000
-- Twice the interval between two reports, so that each living process has reported again.
local GRACE_MS = 10000
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

local function last_entry_field(id) return 'last:' .. id end

-- Whether processes without an entry may still be alive. While the store is away, entries expire
-- although their processes live. So after a silence, each process gets the time to report again. A
-- process that stopped in order removed its id, so no process waits for it. The grace ends by the
-- real clock, so moving the sandbox's clock does not shorten it.
local function may_come_back(others)
  local time = redis.call('TIME')
  local at = time[1] * 1000 + time[2] / 1000
  local got = redis.call('HMGET', K.meta, 'alive_at', 'absent_until')
  local alive_at, absent_until = tonumber(got[1] or ''), tonumber(got[2] or '0')
  if #others > 0 and alive_at and now - alive_at > SILENCE_MS then
    absent_until = at + GRACE_MS
    redis.call('HSET', K.meta, 'absent_until', int(absent_until))
  end
  -- A grace that ends further ahead was recorded before the clock was set back.
  return absent_until > at and absent_until <= at + GRACE_MS
end

local others = {}
for _, id in ipairs(redis.call('ZRANGE', K.processes, 0, -1)) do
  if id ~= own_id then others[#others + 1] = id end
end
local keep_absent = may_come_back(others)

local answer = { int(now), redis.call('HEXISTS', K.meta, 'restoring') }
for _, id in ipairs(others) do
  local entry = redis.call('GET', K.process(id))
  if not entry and not keep_absent then
    redis.call('ZREM', K.processes, id)
    redis.call('HDEL', K.meta, last_entry_field(id))
  elseif entry or not asked.is_working then
    -- An absent process holds up only a process that is about to begin. A release that kept no last
    -- entry is older than this rule.
    entry = entry or redis.call('HGET', K.meta, last_entry_field(id)) or '{}'
    if is_in_the_way(entry) then
      answer[#answer + 1] = id
      answer[#answer + 1] = entry
    end
  end
end
-- A process that works is recorded as working until it has stopped, although it has to stop.
local works = asked.is_working or #answer == 2
local entry = works and working_entry or waiting_entry
redis.call('SET', K.process(own_id), entry, 'PX', int(asked.alive_for))
redis.call('ZADD', K.processes, int(now), own_id)
redis.call('HSET', K.meta, 'alive_at', int(now), last_entry_field(own_id), entry)
return answer
