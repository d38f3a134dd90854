-- Consent: the ledger of what a person granted and withdrew, and the projection of it that
-- decisions read.
-- Every change raises the person's revision, so that no decision made before it is admitted after
-- it.
--
-- The projection is kept in fields of the person's hash. Each field only ever rises, so neither the
-- order nor the number of writes matters:
--   o:<account>|<scope>             latest withdrawal of everything. Scope: '*', a sender, or a
--                                   messaging service
--   o:<account>|<sender>|<service>  the same, where Twilio refused the sender as a member of its
--                                   messaging service
--   s:<account>|<scope>             latest START: it undoes earlier withdrawals of everything at
--                                   this scope
--   s:<account>|<sender>|<service>  latest START for a sender that Twilio refused in this service
--                                   and that was still in it
--   d:<account>|<purpose>|<sender>  latest withdrawal of one purpose. Sender '*': every sender
--   c:<account>|<purpose>|<sender>  grants, each `1:<at>:<expires or nothing>`, separated by
--                                   commas. Purpose '*': all. A grant is left out when another one
--                                   is not earlier and does not end sooner. Older versions wrote
--                                   `0:<at>:` for a withdrawal of the purpose.
-- Dates are the instants at which the person spoke (ms). At equal instants a withdrawal outranks a
-- grant and a START.

-- What other parts use. The rest stays local to the block, because a script may have 200 local
-- variables at most.
local ledger, read_grants, needed, unite, last_word, heard_now, opt_out, opt_in, opt_out_by_provider
local merge_consents

do
  local MAX_GRANTS = 32
  local MAX_LINES = 512
  local KEPT_LINES = 384
  -- Later than any date that this version reads (ms): year 9999.
  local NEVER = 253402300800000

  -- Sources that persons and providers can repeat without limit. A ledger that is too long drops
  -- their lines before those that an operator or a backend recorded.
  local HEARD = { inbound = true, provider = true }

  -- The projection does not need the lines, so a shortened ledger permits and forbids the same as
  -- before.
  local function shorten(key)
    local lines = redis.call('LRANGE', key, 0, -1)
    local surplus = #lines - KEPT_LINES
    local kept = {}
    for _, text in ipairs(lines) do
      local line = decoded(text)
      if surplus > 0 and line and HEARD[line.source] then surplus = surplus - 1 else kept[#kept + 1] = text end
    end
    redis.call('DEL', key)
    redis.call('RPUSH', key, unpack(kept, math.max(1, #kept - MAX_LINES + 1)))
  end

  function ledger(digest, line)
    local key = K.consents(digest)
    if redis.call('RPUSH', key, cjson.encode(line)) > MAX_LINES then shorten(key) end
  end

  -- Returns the grants of a `c:` field as { at =, ends = } (math.huge: never), and the parts of it
  -- that this version cannot read.
  function read_grants(value)
    local grants, unread = {}, {}
    for part in string.gmatch(value or '', '[^,]+') do
      local at, ends = string.match(part, '^1:(%d+):(%d*)$')
      if at then
        grants[#grants + 1] = { at = tonumber(at), ends = ends == '' and math.huge or tonumber(ends) }
      else
        unread[#unread + 1] = part
      end
    end
    return grants, unread
  end

  -- Returns the grants that no other grant makes superfluous, ordered from the latest to the
  -- earliest, and so from the one that ends first to the one that ends last. When there are too
  -- many, the earliest are dropped.
  function needed(grants)
    table.sort(grants, function(one, other)
      if one.at ~= other.at then return one.at > other.at end
      return one.ends > other.ends
    end)
    local front, latest_end = {}, -1
    for _, grant in ipairs(grants) do
      if grant.ends > latest_end and #front < MAX_GRANTS then
        front[#front + 1] = grant
        latest_end = grant.ends
      end
    end
    return front
  end

  local function write_grants(grants, unread)
    local parts = {}
    for _, grant in ipairs(needed(grants)) do
      parts[#parts + 1] = '1:' .. int(grant.at) .. ':' .. (grant.ends == math.huge and '' or int(grant.ends))
    end
    for _, part in ipairs(unread) do parts[#parts + 1] = part end
    return table.concat(parts, ',')
  end

  -- Returns what a `c:` field holds once it is united with another value of the same name.
  local function united_grants(value, more)
    local grants, unread = read_grants(value)
    local others, unread_too = read_grants(more)
    for _, grant in ipairs(others) do grants[#grants + 1] = grant end
    local known = {}
    for _, part in ipairs(unread) do known[part] = true end
    for _, part in ipairs(unread_too) do
      if not known[part] then unread[#unread + 1] = part end
    end
    return write_grants(grants, unread)
  end

  -- Returns what a consent field holds once its value is united with another one: the later of two
  -- dates, or the grants that `needed` leaves.
  -- A date that this version cannot read stays, and it permits nothing.
  local function united(name, before, value)
    if string.sub(name, 1, 2) == 'c:' then return united_grants(before, value) end
    if not before then return value end
    local known, date = tonumber(before), tonumber(value)
    if not known or (date and date <= known) then return before end
    return value
  end

  -- Unites a field of the projection with a value. Returns whether that changed the field.
  function unite(key, name, value)
    local before = redis.call('HGET', key, name)
    local after = united(name, before, value)
    if after == before then return false end
    redis.call('HSET', key, name, after)
    bump(key)
    return true
  end

  -- Returns the latest date of a person's grants (`granted`), or of the withdrawals, on an account.
  function last_word(digest, account, granted)
    local latest = 0
    local function hears(when)
      local date = tonumber(when)
      if date and date < NEVER then latest = math.max(latest, date) end
    end
    local fields = redis.call('HGETALL', K.person(digest))
    for at = 1, #fields, 2 do
      local kind, of = string.match(fields[at], '^([cdos]):([^|]*)|')
      local value = fields[at + 1]
      if of ~= account then
        kind = nil
      elseif kind == 'c' then
        for flag, when in string.gmatch(',' .. value, ',(%d):(%d+):') do
          if (flag == '1') == granted then hears(when) end
        end
      elseif (kind == 's') == granted then
        hears(value)
      end
    end
    return latest
  end

  -- Returns the date of a grant or withdrawal that is heard now. It is later than every earlier
  -- word, even if the clock was set back since. Otherwise, after a failover to a host whose clock
  -- is seconds behind, an earlier grant would outrank a stop.
  function heard_now(digest, account, granted, now)
    return math.max(math.floor(now), last_word(digest, account, not granted) + 1)
  end

  -- Withdraws consent for all purposes, at one sender or messaging service, or ('*') at every
  -- sender of the account.
  -- Returns whether that changed anything. It does not when the withdrawal was known, or when a
  -- later START has undone it.
  function opt_out(digest, account, sender, at, line)
    local key, name = K.person(digest), 'o:' .. account .. '|' .. sender
    if not unite(key, name, int(at)) then return false end
    ledger(digest, line)
    return not is_undone(name, by_name(key), false)
  end

  -- Undoes withdrawals of everything before `at`: what was granted before them counts again.
  -- Returns whether one was undone.
  function opt_in(digest, account, senders, at)
    local key = K.person(digest)
    local fields, is_meant, undone = by_name(K.person(digest)), {}, false
    for _, sender in ipairs(senders) do is_meant[sender] = true end
    for name, withdrawn in pairs(fields) do
      local of, scope, met_in = withdrawal_of(name)
      local is_along = met_in and is_meant[met_in] and stop_scope(scope) == met_in
      if of == account and (is_meant[scope] or is_along) then
        local is_past = is_undone(name, fields, stop_scope(scope))
        undone = undone or not is_past and (tonumber(withdrawn) or math.huge) < at
        if is_along then unite(key, 's:' .. account .. '|' .. scope .. '|' .. met_in, int(at)) end
      end
    end
    for scope in pairs(is_meant) do unite(key, 's:' .. account .. '|' .. scope, int(at)) end
    return undone
  end

  -- Records what a provider's refusal says of the person: they opted out, at the sender or
  -- everywhere, as of the attempt's intent.
  -- A stop at a sender of a messaging service holds for the whole service. It also stays with this
  -- sender when the sender leaves the service.
  function opt_out_by_provider(effect, who, now)
    local at = math.floor(who.intent or now)
    -- A grant dated in the future was given before the clock was set back. Its date does not prove
    -- that it came after this attempt.
    local granted_at = last_word(who.digest, who.account, true)
    if granted_at > now then at = granted_at + 1 end
    local scope = effect.sender_only and stop_scope(who.sender) or '*'
    local line = { at = at, granted = false, account = who.account, source = 'provider', evidence = effect.evidence }
    if effect.sender_only then line.sender = scope end
    if opt_out(who.digest, who.account, scope, at, line) then count('opted_out:provider') end
    local started = redis.call('HGET', K.person(who.digest), 's:' .. who.account .. '|' .. scope)
    if effect.sender_only and scope ~= who.sender and (tonumber(started or '') or 0) <= at then
      unite(K.person(who.digest), 'o:' .. who.account .. '|' .. who.sender .. '|' .. scope, int(at))
    end
  end

  -- Moves what one record of a person says about consent, its ledger and its projection, into
  -- another record of the same person.
  -- Afterwards the second record is what it would be if everything had been recorded there, and the
  -- first one holds no consent. Safe to repeat. Returns whether there was anything to move.
  function merge_consents(from_digest, into_digest)
    local from, into = K.person(from_digest), K.person(into_digest)
    local moved = false
    local fields = redis.call('HGETALL', from)
    for at = 1, #fields, 2 do
      if string.match(fields[at], '^[cdos]:') then
        unite(into, fields[at], fields[at + 1])
        redis.call('HDEL', from, fields[at])
        moved = true
      end
    end
    local lines = {}
    for _, digest in ipairs({ into_digest, from_digest }) do
      for _, text in ipairs(redis.call('LRANGE', K.consents(digest), 0, -1)) do
        local line = decoded(text) or {}
        lines[#lines + 1] = { at = tonumber(line.at) or 0, place = #lines, text = text, is_new = digest == from_digest }
        moved = moved or digest == from_digest
      end
    end
    if not moved then return false end
    table.sort(lines, function(one, other)
      if one.at ~= other.at then return one.at < other.at end
      return one.place < other.place
    end)
    redis.call('DEL', K.consents(from_digest), K.consents(into_digest))
    for _, line in ipairs(lines) do redis.call('RPUSH', K.consents(into_digest), line.text) end
    if #lines > MAX_LINES then shorten(K.consents(into_digest)) end
    bump(from)
    bump(into)
    return true
  end
end
