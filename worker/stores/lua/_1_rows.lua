-- What every worker script shares: terms, digests of persons, untrusted JSON, calls done once. Loaded before all others.

local DAY = 86400000
local HOUR = 3600000

-- How many workers may crash with a message in hand before it is a suspect, claimed alone; and how many more while it is.
local CRASHES_IN_COMPANY = 2
local CRASHES_ALONE = 3

-- Hexadecimal digits of a digest; of a mark of an inbound, and how many of those a person has.
local DIGEST = 32
local MARK = 12
local REMEMBERED = 32

local resolve

do
  -- More pointers in a row than merges leave.
  local MOST_POINTERS = 32

  -- The digest that a person's record points to. What is no digest points nowhere: the reader of the record permits nothing then.
  local function pointer_of(digest)
    local to = redis.call('HGET', K.person(digest), 'to')
    return to and #to == DIGEST and not string.find(to, '%X') and to or nil
  end

  -- The same digest from wherever in a circle of pointers the reading began, so that all its members stay one person.
  local function least_of_circle(digest)
    local least, at = digest, pointer_of(digest)
    while at ~= digest do
      if at < least then least = at end
      at = pointer_of(at)
    end
    return least
  end

  -- Where a person's records are now: follows the pointers that `_9_persons.lua` leaves, and ends whatever they hold.
  -- Behind too many pointers, and in a circle, it is a record that has a pointer itself, which permits nothing. Asked for the digest that
  -- it returned, it returns the same: what is written there is read there.
  function resolve(start)
    local digest, seen = start, {}
    for _ = 1, MOST_POINTERS do
      local to = pointer_of(digest)
      if not to then return digest end
      seen[digest] = true
      if seen[to] then return least_of_circle(to) end
      digest = to
    end
    return pointer_of(digest) and start or digest
  end
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

-- Notes the end of a round: an attempt that led to nothing and is tried again. When the round before ended for the same reason, the two
-- become one line that counts them, and this round's intent goes.
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

-- Where a provider's stop at a sender holds: in its messaging service, else at the sender. Also where a START or a grant undoes it.
local function stop_scope(sender)
  return redis.call('HGET', K.sender(sender), 'mg') or sender
end

-- An instant (ms) as it is stored, or nil where this version cannot read it. The readers in `worker/stores/facts.py` draw the same line.
local function instant(text)
  return text and #text < 20 and string.match(text, '^%d+$') and tonumber(text) or nil
end

-- How often something happened to a message, as it is stored, or nil where this version cannot read it. No message has so many attempts.
local MOST_TIMES = 1000000
local function times(text)
  local number = instant(text)
  return number and number <= MOST_TIMES and number or nil
end

-- The end of a message's life (ms), or nil where this version cannot read it. An absurd one is read as well: it loses nothing.
local function expiry(text)
  return text and string.match(text, '^%-?%d+$') and tonumber(text) or nil
end

-- Counts one more. A count that is no number begins again: nothing must fail over it.
local function one_more(key, field)
  local number = redis.pcall('HINCRBY', key, field, 1)
  if type(number) ~= 'table' then return number end
  redis.call('HSET', key, field, '1')
  return 1
end

-- Whether what a stored instant forbids lasts until `at` or longer. What cannot be read may: only a newer version, or a person, ends it.
local function outlasts(text, at)
  return text and text ~= '' and (instant(text) or math.huge) >= at
end

-- A revision that is no number gets one that no decision has seen: a change must not fail over it.
local function bump(key)
  if type(redis.pcall('HINCRBY', key, 'r', 1)) == 'table' then
    redis.call('HSET', key, 'r', redis.call('TIME')[1] .. '000')
  end
end

local function count(name)
  redis.call('HINCRBY', K.counts, name, 1)
end

-- Removes arq's entry of a job that was taken over. A job that arq wrote under the id of a cancelled message goes, as does an unreadable
-- one, which is kept elsewhere. What a person may have sent again stays as long as its row. Only another message's job, written over it,
-- goes. `is_same`: the entry's job says the same as the message.
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
