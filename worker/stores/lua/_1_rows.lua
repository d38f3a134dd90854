-- What every worker script shares: durations, digests of persons, untrusted JSON, calls that take
-- effect once. Loaded before all other parts.

local DAY = 86400000
local HOUR = 3600000

-- How many workers may crash while they hold a message among others. After that it is a suspect,
-- which a worker claims alone. Then how many more may crash while they hold it alone.
local CRASHES_IN_COMPANY = 2
local CRASHES_ALONE = 3

-- DIGEST: hexadecimal digits of a digest. MARK: those of an inbound's mark. REMEMBERED: how many
-- marks a person has.
local DIGEST = 32
local MARK = 12
local REMEMBERED = 32

local resolve

do
  -- More pointers in a chain than merges leave.
  local MAX_POINTERS = 32

  -- Returns the digest that a person's record points to, or nil. A pointer that is not a digest leads
  -- nowhere: the decision that reads such a record permits nothing.
  local function pointer_of(digest)
    local to = redis.call('HGET', K.person(digest), 'to')
    return to and #to == DIGEST and not string.find(to, '%X') and to or nil
  end

  -- Returns the same digest from whatever member of a circle of pointers the search began, so that
  -- all its members stay one person.
  local function least_of_circle(digest)
    local least, at = digest, pointer_of(digest)
    while at ~= digest do
      if at < least then least = at end
      at = pointer_of(at)
    end
    return least
  end

  -- Returns where a person's records are now: follows the pointers that `_9_persons.lua` leaves. It
  -- always terminates, whatever those pointers hold.
  -- After too many pointers, and in a circle, it returns a record that has a pointer itself. Such a
  -- record permits nothing. For a digest that it returned it returns the same digest, so that later
  -- reads find what was written there.
  function resolve(start)
    local digest, seen = start, {}
    for _ = 1, MAX_POINTERS do
      local to = pointer_of(digest)
      if not to then return digest end
      seen[digest] = true
      if seen[to] then return least_of_circle(to) end
      digest = to
    end
    return pointer_of(digest) and start or digest
  end
end

-- Decodes untrusted text: returns nil instead of raising. Never use it to write a payload back.
local function decoded(text)
  local fine, value = pcall(cjson.decode, text)
  if fine and type(value) == 'table' then return value end
end

-- Does the work of a call once. A call that is repeated under the same request id gets the same
-- reply and changes nothing.
-- `kept`: for how long (ms) the reply is kept, because it may not have arrived. It must exceed any
-- outage after which the caller repeats the call.
local function once(request, kept, work)
  local key = K.answered(request)
  local before = redis.call('GET', key)
  if before then
    -- The caller repeats the call, so it has no reply yet: we keep the reply for as long as the
    -- caller repeats.
    redis.call('PEXPIRE', key, kept)
    return cmsgpack.unpack(before)
  end
  local answers = work()
  if #answers > 0 then redis.call('SET', key, cmsgpack.pack(answers), 'PX', kept) end
  return answers
end

-- Returns the message inside a job, or nil. It is arq's first argument, or its keyword arguments.
local function message_of(payload)
  local job = payload and decoded(payload)
  if not job then return nil end
  local message = type(job.a) == 'table' and job.a[1] or job.k
  if type(message) == 'table' then return message end
end

-- Returns the ContentSid of the template that a message asks for. The message names it by
-- configured name and language, or by ContentSid. Returns '' when the store knows none.
local function content_of(message)
  local template = message and message.template
  if type(template) ~= 'table' or type(template.name) ~= 'string' then return '' end
  if string.sub(template.name, 1, 2) == 'HX' then return template.name end
  local language = type(template.language) == 'string' and template.language or ''
  return redis.call('HGET', K.contents, template.name .. '|' .. language) or ''
end

-- Returns the field of the meta key that says where the search of a paused lane for expired
-- messages continues. The field goes when the pause ends, or with the lane.
local function look_at(lane)
  return 'look:' .. lane
end

-- Records the end of a round: an attempt that led to nothing and is tried again. If the previous
-- round ended for the same reason, the two become one line that counts them, and the intent of this
-- round is removed.
local function note_round(id, now, stage, rest)
  local key = K.timeline(id)
  local head = '"e":"' .. stage .. '"'
  local reason, code = string.match(rest, '"reason":"([^"]*)"'), string.match(rest, '"code":(%d+)')
  local before, intent = unpack(redis.call('LRANGE', key, -2, -1))
  local is_round = intent and string.find(intent, '"e":"intent"', 1, true) and string.find(before, head, 1, true)
    and string.match(before, '"reason":"([^"]*)"') == reason and string.match(before, '"code":(%d+)') == code
  if not is_round then return note(id, now, stage, rest) end
  local start, times = string.match(before, '^(.*),"times":(%d+),"until":%d+}$')
  redis.call('RPOP', key)
  redis.call('LSET', key, -1, (start or string.sub(before, 1, -2)) .. ',"times":' .. int((times or 1) + 1) .. ',"until":' .. int(now) .. '}')
end

local function sender_of(lane)
  return string.match(lane, '^(.-)|')
end

-- Returns where a provider's stop at a sender holds: in its messaging service, if it has one, else
-- at the sender. A START or a grant there undoes it.
local function stop_scope(sender)
  return redis.call('HGET', K.sender(sender), 'mg') or sender
end

-- Reads a stored instant (ms); nil where this version cannot read it. The readers in
-- `worker/stores/fact_parsing.py` accept the same texts.
local function instant(text)
  return text and #text < 20 and string.match(text, '^%d+$') and tonumber(text) or nil
end

-- Reads a stored count of what happened to a message; nil where this version cannot read it. No
-- message has as many attempts as MAX_TIMES.
local MAX_TIMES = 1000000
local function times(text)
  local number = instant(text)
  return number and number <= MAX_TIMES and number or nil
end

-- Reads the end of a message's life (ms); nil where this version cannot read it. It accepts absurd
-- instants too, because they lose nothing.
local function expiry(text)
  return text and string.match(text, '^%-?%d+$') and tonumber(text) or nil
end

-- Adds one to a count. A count that is not a number starts again at 1, because no script may fail
-- over it.
local function one_more(key, field)
  local number = redis.pcall('HINCRBY', key, field, 1)
  if type(number) ~= 'table' then return number end
  redis.call('HSET', key, field, '1')
  return 1
end

-- Whether what a stored instant forbids lasts until `at` or longer. A text that this version cannot
-- read counts as such: only a newer version, or an operator, ends it.
local function outlasts(text, at)
  return text and text ~= '' and (instant(text) or math.huge) >= at
end

-- Raises a revision. One that is not a number becomes one that no decision has seen, because no
-- change may fail over it.
local function bump(key)
  if type(redis.pcall('HINCRBY', key, 'r', 1)) == 'table' then
    redis.call('HSET', key, 'r', redis.call('TIME')[1] .. '000')
  end
end

local function count(name)
  redis.call('HINCRBY', K.counts, name, 1)
end

-- Removes arq's entry of a job that was taken over.
-- It deletes the job if arq wrote it under the id of a cancelled message, or if it is unreadable,
-- because unreadable bytes are kept elsewhere. A job that an operator may have sent again stays as
-- long as its row, unless it is the job of another message, written over it. `is_same`: the entry's
-- job says the same as the message.
local function drop_entry(job_id, id, is_same)
  local row = redis.call('HMGET', K.row(id), 's', 'r', 'x')
  redis.call('ZREM', K.ingress, job_id)
  if not row[1] then count('adopted_without_job') end
  local may_be_retried = MAY_BE_RETRIED[row[1]]
  local is_another = not is_same and K.job(id) == 'arq:job:' .. job_id
  if row[1] == 'cancelled' or row[2] == 'unreadable' or (may_be_retried and (row[3] or is_another)) then
    redis.call('DEL', K.job(id))
  elseif may_be_retried then
    redis.call('PEXPIRE', K.job(id), math.max(0, redis.call('PTTL', K.row(id))))
  end
end
