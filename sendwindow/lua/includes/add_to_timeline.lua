-- include: int

-- Returns a line of a timeline: a JSON object of `at`, `e` (what happened) and the members of
-- `entry` (nil: none).
-- `at` and `e` come first, because older releases and older libraries of producers expect that when
-- they shorten a timeline.
local function timeline_line(at, event, entry)
  local start = '{"at":' .. int(at) .. ',"e":"' .. event .. '"'
  if not entry then return start .. '}' end
  return start .. ',' .. string.sub(cjson.encode(entry), 2)
end

-- Adds what happened to the timeline of a message. `entry`: the members besides `at` and `e`, at
-- least one, or nil. Its numbers are whole and below 10^14, because cjson writes 14 digits. It has
-- no empty lists, because cjson would write them as objects.
-- A timeline keeps its first and its last lines. One line counts the lines between them.
local function add_to_timeline(id, now, event, entry)
  local key = K.timeline(id)
  local length = redis.call('RPUSH', key, timeline_line(now, event, entry))
  if length <= C.MAX_TIMELINE_LINES then return end
  local first = cjson.decode(redis.call('LINDEX', key, C.FIRST_TIMELINE_LINES))
  local lines = first.e == 'left_out' and first.lines or 1
  redis.call('LSET', key, C.FIRST_TIMELINE_LINES + 1, '')
  redis.call('LREM', key, 1, '')
  local line = timeline_line(first.at, 'left_out', { lines = lines + 1 })
  redis.call('LSET', key, C.FIRST_TIMELINE_LINES, line)
end
