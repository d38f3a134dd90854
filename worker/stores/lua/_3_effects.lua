-- What changes the facts: what a provider says about a person, a sender, an account, a template or
-- a tag.
-- Every change raises the revision of the thing that it changes, so that no decision made before it
-- is admitted after it.

-- What other parts use. The rest stays local to the block, because a script may have 200 local
-- variables at most.
local lift, pause, set_tag, land_tag, EFFECTS, LASTING, apply_effects, who_of

do
  -- Withdraws consent for marketing on an account. A grant that came after the attempt outranks it.
  -- Returns whether that changed anything.
  local function withdraw_marketing(who, at, evidence)
    if not unite(K.person(who.digest), 'd:' .. who.account .. '|marketing|*', int(at)) then return false end
    local line = { at = at, granted = false, account = who.account, purpose = 'marketing', source = 'provider', evidence = evidence }
    ledger(who.digest, line)
    return true
  end

  -- Returns the mark of the attempt that taught something about a person, so that a later proof
  -- against it can take that back.
  local function taught_by(who)
    return int(who.attempt or 0) .. ':' .. (who.id or '')
  end

  -- Whether what an attempt of that instant taught is over, because the person has written since,
  -- to a sender of the account (nil: to any), or because an operator has allowed them since.
  local function is_outlived(digest, account, at, ends_by_inbound)
    local fields = redis.call('HGETALL', K.person(digest))
    for index = 1, #fields, 2 do
      local name, when = fields[index], instant(fields[index + 1]) or -1
      if name == 'al' and when >= at then return true end
      local sender = ends_by_inbound and string.match(name, '^w:(.*)$')
      if sender and when >= at then
        local of = sender ~= '?' and redis.call('HGET', K.sender(sender), 'a')
        -- The account of the unknown sender `?` is not known, so it counts for every account.
        if not account or not of or of == account then return true end
      end
    end
    return false
  end

  -- Holds messages to a person back. `holds`: which messages. `sender`: '*' means every sender of
  -- the account. `ends`: nil means without a term.
  -- Each code has a field of its own, so that what one error taught does not end with the term of
  -- another.
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

  -- Ends what errors taught about a person until `at`: the suppression of the address, and what is
  -- held back on an account (nil: on every account).
  -- `only_inbound`: ends only what is to end when the person writes. Returns how many it ended. The
  -- caller raises the person's revision.
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
          -- A block that this version cannot read holds everything back, and only an operator ends
          -- it.
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

  -- Whether a stop is in force at this sender: one that the person sent to us, or one that is known
  -- from its messaging service.
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

  -- A dead tag stays dead until an operator resets it. An attempt in flight no longer matters to
  -- it.
  function set_tag(sender, state, reason)
    local key = K.tag_state(sender)
    local before = redis.call('HGET', key, 'state')
    if before == 'dead' or before == state then return end
    redis.call('HSET', key, 'state', state, 'reason', reason)
    redis.call('HDEL', key, 'message', 'until')
    bump(key)
  end

  -- The unproven message is no longer on its way, so the next one may try.
  function land_tag(sender, id)
    local key = K.tag_state(sender)
    if redis.call('HGET', key, 'message') ~= id then return end
    redis.call('HDEL', key, 'message', 'until')
    bump(key)
  end

  EFFECTS = {
    -- Whatever the person did after the POST still counts: the window closes as of the attempt's
    -- intent.
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
      -- The person sent us no stop. Perhaps the number has a new owner, who granted nothing.
      if effect.suspends and not is_known then
        EFFECTS.hold({ holds = 'grants', ms = 0, until_inbound = true, code = 21610 }, who, now)
      end
    end,
    -- After a marketing template the provider may have refused marketing alone. The attempt's
    -- intent says which template it sent.
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
    -- Where no tag was relied on, the same codes mean something else. Only an attempt that relied
    -- on it speaks for the Page.
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

  -- Effects on a person, which need a digest.
  local NEEDS_PERSON = { close_window = true, opt_out = true, hold = true, withdraw = true, suppress = true }

  -- Effects on a person or a Page, which are dated by the attempt's intent. Applied twice, or late,
  -- they change nothing that came after.
  -- A pause and the state of a template, in contrast, speak of the moment at which they are
  -- reported.
  LASTING = { close_window = true, opt_out = true, hold = true, withdraw = true, suppress = true, tag = true }

  -- Whether there are too many errors like this one to believe them: more than a number, and more
  -- than a share, of the sender's last attempts.
  -- Each attempt counts once, at the number that the sender's attempts had reached when its error
  -- came in. `guard`: attempts, percent, errors.
  local function is_jump(who, guard)
    local key = K.errors_of(who.sender)
    local span, percent, most = guard[1], guard[2], guard[3]
    local made = instant(redis.call('HGET', K.sender(who.sender), 'n')) or 0
    local is_new = redis.call('ZADD', key, 'NX', int(made), taught_by(who)) == 1
    redis.call('ZREMRANGEBYSCORE', key, '-inf', int(made - span))
    -- This many errors exceed both limits, however many attempts there were, so we need not count
    -- more.
    local enough = math.max(most, math.floor(span * percent / 100)) + 1
    redis.call('ZREMRANGEBYRANK', key, 0, -(enough + 1))
    local errors = redis.call('ZCARD', key)
    return errors > most and errors * 100 > percent * math.min(math.max(made, 1), span), is_new
  end

  local MAX_HELD = 10000

  -- Holds an effect, with everything that it takes to apply it later under its own date. Reported
  -- again, it is held once.
  local function keep_aside(effect, who, now)
    local key = K.held(who.sender)
    if redis.call('LLEN', key) >= MAX_HELD then
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

  -- Applies effects, or holds them where there are too many.
  -- `who`: digest, sender, account, template (ContentSid), intent (ms), tg (the attempt relied on
  -- the tag), id and attempt, and `sent`: what the attempt was, as far as an effect depends on it
  -- (marketing, user_id).
  -- `only`: the kinds of effects to apply, nil for all.
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

  -- Returns whom a late report of the provider is about.
  function who_of(row)
    local sender = sender_of(row.l)
    return { digest = row.p and resolve(row.p), sender = sender, account = redis.call('HGET', K.sender(sender), 'a') or '' }
  end
end
