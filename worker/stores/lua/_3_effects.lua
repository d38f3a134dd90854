-- What changes the facts: what a provider's word says about person, sender, account, template and tag.
-- Every change bumps the revision of the thing it changes, so that no decision made before is admitted after.

-- What other parts use; the rest stays inside, because a script may have 200 local variables at most.
local lift, pause, set_tag, land_tag, EFFECTS, LASTING, apply_effects, who_of

do
  -- Withdraws consent for marketing on an account. A grant given since the attempt outranks it. Answers whether that changed anything.
  local function withdraw_marketing(who, at, evidence)
    if not unite(K.person(who.digest), 'd:' .. who.account .. '|marketing|*', int(at)) then return false end
    local line = { at = at, granted = false, account = who.account, purpose = 'marketing', source = 'provider', evidence = evidence }
    ledger(who.digest, line)
    return true
  end

  -- Which attempt taught something of a person, so that a later proof against it can take it back.
  local function taught_by(who)
    return int(who.attempt or 0) .. ':' .. (who.id or '')
  end

  -- Whether what an attempt of that instant taught is over: the person wrote since, to a sender of the account (nil: to any), or an
  -- operator allowed them since.
  local function is_outlived(digest, account, at, ends_by_inbound)
    local fields = redis.call('HGETALL', K.person(digest))
    for index = 1, #fields, 2 do
      local name, when = fields[index], instant(fields[index + 1]) or -1
      if name == 'al' and when >= at then return true end
      local sender = ends_by_inbound and string.match(name, '^w:(.*)$')
      if sender and when >= at then
        local of = sender ~= '?' and redis.call('HGET', K.sender(sender), 'a')
        -- Which account the unknown sender `?` was of is not known, so that it counts for each.
        if not account or not of or of == account then return true end
      end
    end
    return false
  end

  -- Holds messages to a person back. `holds`: which; `sender` '*': at every sender of the account; `ends` nil: no term.
  -- One field for each code, so that what one error taught does not end with another's term.
  local function hold_back(who, block)
    local key = K.person(who.digest)
    local field = 'b:' .. who.account .. '|' .. block.sender .. '|' .. block.holds .. '|' .. int(block.code)
    local before = redis.call('HGET', key, field)
    if before and outlasts(string.match(before, '^(.-):') or '?', block.at) then return false end
    local ends = block.ends and int(block.ends) or ''
    local flag = block.until_inbound and '1' or '0'
    redis.call('HSET', key, field, int(block.at) .. ':' .. ends .. ':' .. flag .. ':' .. taught_by(who))
    bump(key)
    count('held_back:' .. block.holds)
    return true
  end

  -- Ends what errors taught of a person until `at`: the suppression of the address, and what is held back on an account (nil: on each).
  -- `only_inbound`: only what ends when the person writes. Answers how much ended; the caller bumps the person.
  function lift(digest, account, at, only_inbound)
    local key, lifted = K.person(digest), 0
    for _, name in ipairs(redis.call('HKEYS', key)) do
      if name == 'x' then
        local taught = string.match(redis.call('HGET', key, 'xt') or '', '^(%d+):')
        if not taught or tonumber(taught) <= at then
          redis.call('HDEL', key, 'x', 'xr', 'xt')
          lifted = lifted + 1
        end
      else
        local of = string.match(name, '^b:([^|]*)|')
        local taught, flag = nil, nil
        if of and (not account or of == account) then
          taught, flag = string.match(redis.call('HGET', key, name), '^(%d+):%d*:([01]):')
          -- What cannot be read holds everything back, and ends by an operator's word alone.
          if not taught then taught, flag = '0', '0' end
        end
        if taught and tonumber(taught) <= at and (flag == '1' or not only_inbound) then
          redis.call('HDEL', key, name)
          lifted = lifted + 1
        end
      end
    end
    return lifted
  end

  -- Whether a stop is in force at this sender that somebody said to us, or that is known from its messaging service.
  local function is_stopped(digest, account, sender)
    local fields, service = by_name(K.person(digest)), stop_scope(sender)
    for name in pairs(fields) do
      local of, scope = withdrawal_of(name)
      local is_near = scope == '*' or scope == sender or scope == service
      if of == account and is_near and not is_undone(name, fields, service) then return true end
    end
    return false
  end

  function pause(key, until_ms, reason)
    if outlasts(redis.call('HGET', key, 'until'), until_ms) then return end
    redis.call('HSET', key, 'until', int(until_ms), 'reason', reason)
    bump(key)
  end

  -- A dead tag stays dead until a person resets it; what is in flight no longer counts.
  function set_tag(sender, state, reason)
    local key = K.tag_state(sender)
    local before = redis.call('HGET', key, 'state')
    if before == 'dead' or before == state then return end
    redis.call('HSET', key, 'state', state, 'reason', reason)
    redis.call('HDEL', key, 'message', 'until')
    bump(key)
  end

  -- The unproven message is no longer on its way: the next one may try.
  function land_tag(sender, id)
    local key = K.tag_state(sender)
    if redis.call('HGET', key, 'message') ~= id then return end
    redis.call('HDEL', key, 'message', 'until')
    bump(key)
  end

  EFFECTS = {
    -- What the person did after the POST counts: the window is closed as of the attempt's intent.
    close_window = function(effect, who, now)
      local key = K.person(who.digest)
      local at = who.intent or now
      if outlasts(redis.call('HGET', key, 'wc:' .. who.sender), at) then return end
      redis.call('HSET', key, 'wc:' .. who.sender, int(at))
      bump(key)
    end,
    opt_out = function(effect, who, now)
      local is_known = is_stopped(who.digest, who.account, who.sender)
      opt_out_by_provider(effect, who, now)
      -- Nobody said stop here: perhaps the number has a new owner, who granted nothing.
      if effect.suspends and not is_known then
        EFFECTS.hold({ holds = 'grants', ms = 0, until_inbound = true, code = 21610 }, who, now)
      end
    end,
    -- After a marketing template perhaps marketing alone was refused: which template the attempt sent, its intent says.
    hold = function(effect, who, now)
      local at = math.floor(who.intent or now)
      if is_outlived(who.digest, who.account, at, effect.until_inbound) then return end
      local holds = effect.holds
      if effect.after_marketing and effect.after_marketing ~= holds and who.sent.marketing then
        holds = effect.after_marketing
      end
      local ends = effect.ms > 0 and at + effect.ms or nil
      if ends and ends <= now then return end
      hold_back(who, {
        holds = holds, at = at, ends = ends, until_inbound = effect.until_inbound, code = effect.code,
        sender = effect.sender_only and who.sender or '*',
      })
    end,
    withdraw = function(effect, who, now)
      if withdraw_marketing(who, math.floor(who.intent or now), effect.evidence) then count('opted_out:channel') end
    end,
    pause_sender = function(effect, who, now)
      pause(K.sender(who.sender), now + effect.ms, effect.reason)
    end,
    pause_account = function(effect, who, now)
      pause(K.account(who.account), now + effect.ms, effect.reason)
    end,
    template = function(effect, who, now)
      if not who.template or who.template == '' then return end
      local key = K.template(who.template)
      redis.call('HSET', key, 'state', effect.state, 'reason', effect.reason)
      if effect.ms > 0 then redis.call('HSET', key, 'until', int(now + effect.ms)) else redis.call('HDEL', key, 'until') end
      bump(key)
    end,
    -- The same codes mean something else where no tag was relied on: only an attempt that did speaks for the Page.
    tag = function(effect, who, now)
      if not who.tg then return end
      set_tag(who.sender, effect.state, effect.reason)
    end,
    suppress = function(effect, who, now)
      local key, at = K.person(who.digest), math.floor(who.intent or now)
      local ends = at + effect.ms
      if outlasts(redis.call('HGET', key, 'x'), ends) or is_outlived(who.digest, nil, at, true) then return end
      if effect.phones_only and who.sent.user_id then return end
      redis.call('HSET', key, 'x', int(ends), 'xr', effect.reason, 'xt', int(at) .. ':' .. taught_by(who))
      bump(key)
    end,
  }

  -- Effects on a person need a digest.
  local NEEDS_PERSON = { close_window = true, opt_out = true, hold = true, withdraw = true, suppress = true }

  -- What is said of a person or a Page holds since the attempt's intent: said again, or late, it changes nothing that came after.
  -- A pause and a template's state speak of the moment they are heard at.
  LASTING = { close_window = true, opt_out = true, hold = true, withdraw = true, suppress = true, tag = true }

  -- Whether errors like this one are too many to be believed: more than so many, and more than such a share, of the sender's last attempts.
  -- Each attempt counts once, at the sender's attempt at which it is heard. `guard`: attempts, percent, errors.
  local function is_jump(who, guard)
    local key = K.errors_of(who.sender)
    local span, percent, most = guard[1], guard[2], guard[3]
    local made = instant(redis.call('HGET', K.sender(who.sender), 'n')) or 0
    local is_new = redis.call('ZADD', key, 'NX', int(made), taught_by(who)) == 1
    redis.call('ZREMRANGEBYSCORE', key, '-inf', int(made - span))
    -- With so many both bounds are passed, however many attempts there were: more need not be counted.
    local enough = math.max(most, math.floor(span * percent / 100)) + 1
    redis.call('ZREMRANGEBYRANK', key, 0, -(enough + 1))
    local errors = redis.call('ZCARD', key)
    return errors > most and errors * 100 > percent * math.min(math.max(made, 1), span), is_new
  end

  local MOST_HELD = 10000

  -- Keeps an effect aside with all that it takes to apply it later, dated as it is. Heard again, it is kept once.
  local function keep_aside(effect, who, now)
    local key = K.held(who.sender)
    if redis.call('LLEN', key) >= MOST_HELD then
      count('effects_dropped')
      return
    end
    local kept = {
      at = math.floor(now), effect = effect, digest = who.digest, sender = who.sender, account = who.account,
      intent = math.floor(who.intent or now), id = who.id, attempt = who.attempt,
      sent = who.sent,
    }
    redis.call('RPUSH', key, cjson.encode(kept))
    count('effects_held')
  end

  -- `who`: digest, sender, account, template (ContentSid), intent (ms), tg (the attempt relied on the tag), id and attempt, and `sent`: what
  -- the attempt was, as far as it matters to an effect (marketing, user_id).
  -- `only`: kinds of effects, nil for all.
  function apply_effects(effects, who, now, only)
    if (effects or {})[1] and (who.digest or '') ~= '' then who.digest = resolve(who.digest) end
    for _, effect in ipairs(effects or {}) do
      local is_meant = not only or only[effect.t]
      if is_meant and not (NEEDS_PERSON[effect.t] and (who.digest or '') == '') then
        local is_many, is_new = false, true
        if effect.guard then is_many, is_new = is_jump(who, effect.guard) end
        if not is_many then
          EFFECTS[effect.t](effect, who, now)
        elseif is_new then
          keep_aside(effect, who, now)
        end
      end
    end
  end

  -- Who a provider's late word is about.
  function who_of(row)
    local sender = sender_of(row.l)
    return { digest = row.p and resolve(row.p), sender = sender, account = redis.call('HGET', K.sender(sender), 'a') or '' }
  end
end
