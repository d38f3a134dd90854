-- What a decision looks at, as compact arrays. Reads only.

-- Revision, state, until and reason of a sender, account or template. What has lapsed is left out.
-- Not told: `service` and `account`, a sender's, and `at`, when a living process last knew it.
local function stored(key, now)
  local got = redis.call('HMGET', key, 'r', 'state', 'until', 'reason', 'mg', 'a', 'at')
  local ends = tonumber(got[3] or '0')
  if ends > 0 and ends <= now then got[2], got[3], got[4] = '', '', '' end
  return { got[1] or '0', got[2] or '', got[3] or '', got[4] or '', service = got[5], account = got[6], at = got[7] }
end

-- Revision, last inbound, closed at, suppressed until, POSTs in the last day, then consent fields with their values.
-- A stop in the sender's messaging service (false: it is in none) is told as the sender's own.
local function person_of(digest, sender, service, account, now)
  local mine = { '0', '', '', '', 0 }
  if digest == '' then return mine end
  local fields = redis.call('HGETALL', K.person(digest))
  local consent, stop = 'c:' .. account .. '|', 'o:' .. account .. '|'
  local in_service = service and stop .. service
  for at = 1, #fields, 2 do
    local name, value = fields[at], fields[at + 1]
    if name == 'r' then mine[1] = value
    elseif name == 'w:' .. sender then mine[2] = value
    elseif name == 'wc:' .. sender then mine[3] = value
    elseif name == 'x' then mine[4] = value
    elseif string.sub(name, 1, #consent) == consent or string.sub(name, 1, #stop) == stop then
      mine[#mine + 1] = name == in_service and stop .. sender or name
      mine[#mine + 1] = value
    end
  end
  mine[5] = redis.call('ZCOUNT', K.sent_to(digest), '(' .. int(now - DAY), '+inf')
  return mine
end

local function tag_of(sender, id, now)
  local got = redis.call('HMGET', K.tag_state(sender), 'r', 'state', 'message', 'until')
  local flying = got[3] and got[3] ~= id and (tonumber(got[4] or '0') > now)
  return { got[1] or '0', got[2] or '', flying and '1' or '' }
end

-- `template` is a ContentSid; the reader is told which, as it may know another. `cache` spares reading the same sender, account or
-- template twice in one call. The facts are of `account`; the last three: the account that the sender is registered with by now, and when
-- a living worker last knew sender and template.
local function facts_of(id, digest, sender, account, template, now, cache)
  local function once(kind, name)
    if name == '' then return { '0', '', '', '' } end
    local key = K[kind](name)
    if not cache[key] then cache[key] = stored(key, now) end
    return cache[key]
  end
  local from, content = once('sender', sender), once('template', template)
  return {
    digest, person_of(digest, sender, from.service, account, now), from, once('account', account),
    content, tag_of(sender, id, now), template, from.account or '', from.at or '', content.at or '',
  }
end
