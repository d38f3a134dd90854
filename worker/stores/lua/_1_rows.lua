-- A message's row, the digest of its person, and the way back into its lane. Loaded before every worker script.

local DAY = 86400000
local HOUR = 3600000

-- How many workers may crash with a message in hand before it is a suspect, claimed alone; and how many more while it is.
local CRASHES_IN_COMPANY = 2
local CRASHES_ALONE = 3

-- Hexadecimal digits of a digest; of a mark of an inbound, and how many of those a person has.
local DIGEST = 32
local MARK = 12
local REMEMBERED = 32

-- Where a person's records are now: follows the pointers that `_9_persons.lua` leaves.
local function resolve(digest)
  local to = redis.call('HGET', K.person(digest), 'to')
  while to do
    digest = to
    to = redis.call('HGET', K.person(digest), 'to')
  end
  return digest
end

-- cjson with untrusted text: nil instead of an error. Never used to write a payload back.
local function decoded(text)
  local fine, value = pcall(cjson.decode, text)
  if fine and type(value) == 'table' then return value end
end

-- Does the work of a call once: repeated under the same request id, it gets the same answer and changes nothing.
-- `kept`: for how long (ms) an answer that may not have arrived is kept; longer than any outage after which it is asked for again.
local function once(request, kept, work)
  local key = K.answered(request)
  local before = redis.call('GET', key)
  if before then
    -- Whoever asks again got no answer yet: it is kept for as long as they ask.
    redis.call('PEXPIRE', key, kept)
    return cmsgpack.unpack(before)
  end
  local answers = work()
  if #answers > 0 then redis.call('SET', key, cmsgpack.pack(answers), 'PX', kept) end
  return answers
end

-- The message inside a job, or nil: arq's first argument, or its keyword arguments.
local function message_of(payload)
  local job = payload and decoded(payload)
  if not job then return nil end
  local message = type(job.a) == 'table' and job.a[1] or job.k
  if type(message) == 'table' then return message end
end

-- The ContentSid of the template a message asks for, by configured name and language or by itself; '' when nobody knows one.
local function content_of(message)
  local template = message and message.template
  if type(template) ~= 'table' or type(template.name) ~= 'string' then return '' end
  if string.sub(template.name, 1, 2) == 'HX' then return template.name end
  local language = type(template.language) == 'string' and template.language or ''
  return redis.call('HGET', K.contents, template.name .. '|' .. language) or ''
end

-- Field of the meta key: where the search of a paused lane for expired messages goes on. It ends with the pause, and with the lane.
local function look_at(lane)
  return 'look:' .. lane
end

local function sender_of(lane)
  return string.match(lane, '^(.-)|')
end

-- Where a provider's stop at a sender holds: in its messaging service, else at the sender. Also where a START or a grant undoes it.
local function stop_scope(sender)
  return redis.call('HGET', K.sender(sender), 'mg') or sender
end

local function bump(key)
  redis.call('HINCRBY', key, 'r', 1)
end

local function count(name)
  redis.call('HINCRBY', K.counts, name, 1)
end

local ROW = {
  's', 'l', 'q', 'e', 'n', 'f', 'i', 'p', 'k', 'x', 'sid', 'a', 'sr', 'z', 'w', 'tg', 'cb', 'ev', 'pr', 'r', 'u', 'fm', 'rd', 'ps', 'dup', 'po', 'fa',
}

local function load(id)
  local got = redis.call('HMGET', K.row(id), unpack(ROW))
  if not got[1] then return nil end
  local row = {}
  for index, name in ipairs(ROW) do row[name] = got[index] or nil end
  row.n = tonumber(row.n or '0')
  return row
end

-- A message without a proven outcome, so that proof of acceptance ends it. `posting` is not here: its own reply is awaited.
local YIELDS_TO_PROOF = {
  queued = true, waiting = true, retrying = true, claimed = true, unknown = true, unresolved = true,
}

-- Back into its lane. Asked to cancel meanwhile: it ends instead.
local function requeue(id, row, stage, reason, due, now)
  leave(id, row)
  if row.x then
    end_message(id, row, 'cancelled', 'cancelled', nil, now)
    return
  end
  redis.call('HSET', K.row(id), 's', stage, 'r', reason)
  row.s = stage
  to_lane(row.l, id, due, now)
end

local DROPS_JOB = { refused = true, failed = true, expired = true, cancelled = true }

-- Removes arq's entry of a job that was taken over. A job that arq wrote under the id of an ended message is nobody's any more; an
-- unreadable one is kept elsewhere.
local function drop_entry(job_id, id)
  local row = redis.call('HMGET', K.row(id), 's', 'r')
  redis.call('ZREM', K.ingress, job_id)
  if not row[1] then count('adopted_without_job') end
  if DROPS_JOB[row[1]] or row[2] == 'unreadable' then redis.call('DEL', K.job(id)) end
end
