-- Consent: the ledger of what a person granted and withdrew, and its projection, which decisions see.
-- Every change bumps the person's revision, so that no decision made before is admitted after.

local function ledger(digest, line)
  redis.call('RPUSH', K.consents(digest), cjson.encode(line))
end

-- The latest date of a person's grants (or of the withdrawals) on an account.
local function last_word(digest, account, granted)
  local latest = 0
  local fields = redis.call('HGETALL', K.person(digest))
  for at = 1, #fields, 2 do
    local kind, of = string.match(fields[at], '^([cos]):([^|]*)|')
    if of == account then
      local yes, when = kind == 's', fields[at + 1]
      if kind == 'c' then
        local flag, rest = string.match(when, '^(%d):(%d+)')
        yes, when = flag == '1', rest
      end
      if yes == granted then latest = math.max(latest, tonumber(when)) end
    end
  end
  return latest
end

-- The date of a grant or withdrawal that is heard now. It is the last word, also when the clock was set back since another
-- was said: a failover to a host that is seconds behind would else let an earlier grant outrank a stop.
local function heard_now(digest, account, granted, now)
  return math.max(math.floor(now), last_word(digest, account, not granted) + 1)
end

-- Withdraws consent for all purposes, at one sender or messaging service or ('*') at every sender of the account. A later START outranks it.
local function opt_out(digest, account, sender, at, line)
  local key = K.person(digest)
  local scope = account .. '|' .. sender
  local started = redis.call('HMGET', key, 's:' .. scope, 's:' .. account .. '|*', 'o:' .. scope)
  if tonumber(started[1] or '0') > at or tonumber(started[2] or '0') > at then return false end
  if tonumber(started[3] or '0') >= at then return false end
  redis.call('HSET', key, 'o:' .. scope, int(at))
  bump(key)
  ledger(digest, line)
  return true
end

-- The senders of a messaging service whose stop was written along with the service's: both have one date.
local function stopped_along(digest, account, service, at)
  local found = {}
  local fields = redis.call('HGETALL', K.person(digest))
  for index = 1, #fields, 2 do
    local of, sender = string.match(fields[index], '^o:([^|]*)|(.*)$')
    local is_along = of == account and fields[index + 1] == at and sender ~= service
    if is_along and stop_scope(sender) == service then found[#found + 1] = sender end
  end
  return found
end

-- Twilio refused this very sender: the service's stop is also its own, and stays with it when it leaves the service.
-- `before`: the date of the service's stop until now. Changes nothing where a later START outranked the refusal.
local function stop_sender(who, service, before)
  local key, scope = K.person(who.digest), 'o:' .. who.account .. '|'
  local at = redis.call('HGET', key, scope .. service)
  if not at then return end
  for _, sender in ipairs(stopped_along(who.digest, who.account, service, before)) do
    redis.call('HSET', key, scope .. sender, at)
  end
  local own = redis.call('HGET', key, scope .. who.sender)
  if own and tonumber(own) >= tonumber(at) then return end
  -- What was withdrawn at the sender alone keeps a date of its own: a START at another sender must not undo it.
  redis.call('HSET', key, scope .. who.sender, own and int(tonumber(at) + 1) or at)
  bump(key)
end

-- Undoes withdrawals at or before `at`: what was granted before them counts again. Answers whether one was undone.
local function opt_in(digest, account, senders, at)
  local key = K.person(digest)
  local undone = false
  for _, sender in ipairs(senders) do
    local scope = account .. '|' .. sender
    local got = redis.call('HMGET', key, 'o:' .. scope, 's:' .. scope)
    if got[1] and tonumber(got[1]) < at then
      redis.call('HDEL', key, 'o:' .. scope)
      for _, along in ipairs(stopped_along(digest, account, sender, got[1])) do
        redis.call('HDEL', key, 'o:' .. account .. '|' .. along)
      end
      undone = true
    end
    if tonumber(got[2] or '0') < at then redis.call('HSET', key, 's:' .. scope, int(at)) end
  end
  if undone then bump(key) end
  return undone
end

-- What a provider's refusal says of the person: they opted out, at the sender or everywhere, as of the attempt's intent.
local function opt_out_by_provider(effect, who, now)
  local at = math.floor(who.intent or now)
  -- A grant dated ahead was given before the clock was set back: it does not tell that it came after this attempt.
  local granted_at = last_word(who.digest, who.account, true)
  if granted_at > now then at = granted_at + 1 end
  local scope = effect.sender_only and stop_scope(who.sender) or '*'
  local line = { at = at, granted = false, account = who.account, source = 'provider', evidence = effect.evidence }
  if effect.sender_only then line.sender = scope end
  local before = redis.call('HGET', K.person(who.digest), 'o:' .. who.account .. '|' .. scope)
  if opt_out(who.digest, who.account, scope, at, line) then count('opted_out:provider') end
  if effect.sender_only then stop_sender(who, scope, before) end
end
