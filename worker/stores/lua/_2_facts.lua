-- What a decision looks at, as compact arrays. Reads only, except that `forget_gone` and
-- `mark_settled` update permits.

-- Returns revision, state, until and reason of a sender, account or template. A pause that is over
-- is left out.
-- The reply also has fields that Redis does not send to the caller: `service` and `account` of a
-- sender, and `at`, when a living process last knew it.
local function stored(key, now)
  local got = redis.call('HMGET', key, 'r', 'state', 'until', 'reason', 'mg', 'a', 'at')
  local ends = instant(got[3] or '0')
  -- An end that this version cannot read lies in the future.
  if not ends then got[3] = int(now + HOUR) elseif ends > 0 and ends <= now then got[2], got[3], got[4] = '', '', '' end
  return { got[1] or '0', got[2] or '', got[3] or '', got[4] or '', service = got[5], account = got[6], at = got[7] }
end

-- Returns the parts of the name of a field that dates a withdrawal of everything: account, scope,
-- and the messaging service that the sender was in when the provider refused it, or nil.
local function withdrawal_of(name)
  local account, scope = string.match(name, '^o:([^|]*)|(.*)$')
  local sender, met_in = string.match(scope or '', '^(.-)|(.*)$')
  return account, sender or scope, met_in
end

-- Whether a later START undid a withdrawal. `fields`: the person's fields, by name. `service`: the
-- messaging service that the scope is in now, or false.
-- A START to one sender of a service counts for the senders that were in the service then, which
-- `opt_in` records, and for those that are in it now.
local function is_undone(name, fields, service)
  local account, scope, met_in = withdrawal_of(name)
  local withdrawn = instant(fields[name])
  for _, place in ipairs({ scope, met_in and scope .. '|' .. met_in or scope, met_in == service and met_in or scope }) do
    local started = instant(fields['s:' .. account .. '|' .. place])
    if withdrawn and started and started > withdrawn then return true end
  end
  return false
end

local function by_name(key)
  local listed, fields = redis.call('HGETALL', key), {}
  for at = 1, #listed, 2 do fields[listed[at]] = listed[at + 1] end
  return fields
end

-- Returns revision, last inbound, closed at, suppressed until and POSTs in the last day; then
-- fields with their values: consent, what errors hold back on the account (`b:`), a suspected stop
-- (`h:`), and why the address is suppressed. Also returns the digest that they are kept under.
-- A stop in the sender's messaging service (`service`, false if the sender is in none) appears as
-- the sender's own. A stop that a START undid does not appear.
-- A kind of consent that only a newer version knows is returned as it is, and then the decision
-- permits nothing.
local function person_of(digest, sender, service, account, now)
  local mine = { '0', '', '', '', 0 }
  if digest == '' then return mine, digest end
  local fields = by_name(K.person(digest))
  if fields.to then
    digest = resolve(digest)
    fields = by_name(K.person(digest))
    -- The pointer leads nowhere, so the record may be incomplete. The decision permits nothing.
    if fields.to then mine[6], mine[7] = 'to', fields.to end
  end
  mine[1], mine[2], mine[3] = fields.r or '0', fields['w:' .. sender] or '', fields['wc:' .. sender] or ''
  mine[4] = fields.x or ''
  if fields.xr then
    mine[#mine + 1] = 'xr'
    mine[#mine + 1] = fields.xr
  end
  for name, value in pairs(fields) do
    local kind, of, scope = string.match(name, '^(%a+):([^|]*)|(.*)$')
    if of == account and kind == 'o' then
      local _, place = withdrawal_of(name)
      local is_near = place == '*' or place == sender or place == service
      if is_near and not is_undone(name, fields, service) then
        mine[#mine + 1] = place == '*' and name or 'o:' .. account .. '|' .. sender
        mine[#mine + 1] = value
      end
    elseif of == account and kind ~= 's' or name == 'h:' .. account then
      mine[#mine + 1] = name
      mine[#mine + 1] = value
    end
  end
  mine[5] = redis.call('ZCOUNT', K.sent_to(digest), '(' .. int(now - DAY), '+inf')
  return mine, digest
end

local function tag_of(sender, id, now)
  local got = redis.call('HMGET', K.tag_state(sender), 'r', 'state', 'message', 'until')
  local flying = got[3] and got[3] ~= id and (instant(got[4] or '0') or math.huge) > now
  return { got[1] or '0', got[2] or '', flying and '1' or '' }
end

-- Returns the facts of a decision.
-- `names`: the person's digests, the digest of its records first (see `gather`). `template`: a
-- ContentSid; the facts repeat it, because the worker may know another. `cache`: avoids reading the
-- same sender, account or template twice in one call.
-- The facts are those of `account`. The last three are the account that the sender is registered
-- with by now, and when a living worker last knew the sender and the template.
local function facts_of(id, names, sender, account, template, now, cache)
  local function once(kind, name)
    if name == '' then return { '0', '', '', '' } end
    local key = K[kind](name)
    if not cache[key] then cache[key] = stored(key, now) end
    return cache[key]
  end
  local from, content = once('sender', sender), once('template', template)
  local person, digest = person_of(string.sub(names, 1, DIGEST), sender, from.service, account, now)
  return {
    digest .. string.sub(names, DIGEST + 1), person, from, once('account', account),
    content, tag_of(sender, id, now), template, from.account or '', from.at or '', content.at or '',
  }
end

-- Removes a permit whose message is gone, because nothing asks about it any more. Returns whether
-- it is gone.
local function forget_gone(person, entry)
  if redis.call('EXISTS', K.row(string.match(entry, '^%d+:(.*)$'))) == 1 then return false end
  redis.call('ZREM', K.permits(person), entry)
  return true
end

-- Returns the milliseconds by the store's clock until the last unsettled permit of a person lapses.
-- It is 0 when every permit is settled, and negative when the last one has lapsed by that clock,
-- which may have jumped.
-- A settled permit whose attempt is unproven stays listed, with a score that ends in a half.
local function permits_left(person, now)
  local latest
  local entries = redis.call('ZRANGE', K.permits(person), 0, -1, 'WITHSCORES')
  for at = 2, #entries, 2 do
    local ends = tonumber(entries[at])
    if not forget_gone(person, entries[at - 1]) and ends % 1 == 0 then latest = math.max(latest or ends, ends) end
  end
  if not latest then return 0 end
  local left = math.ceil(latest - now)
  return left == 0 and -1 or left
end

-- Marks a permit as used up although its attempt stays listed.
local function mark_settled(person, attempt, now)
  redis.call('ZADD', K.permits(person), 'XX', int(now) .. '.5', attempt)
end
