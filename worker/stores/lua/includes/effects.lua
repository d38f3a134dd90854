-- include: count, hold_back, int, is_outlived, is_stopped, opt_out_by_provider, outlasts, pause
-- include: raise_revision, set_tag_state, source_of, withdraw_marketing

-- What each kind of effect does: what a provider says about a person, a sender, an account, a
-- template or a tag. Every change raises the revision of the thing that it changes, so that no
-- decision made before it is admitted after it. `who`: see `apply_effects`.
local EFFECTS
EFFECTS = {
  -- Whatever the person did after the POST still counts: the window closes as of the attempt's
  -- intent.
  close_window = function(_, who, now)
    local key, field = K.person(who.digest), F.closed_window .. who.sender
    local at = who.intent or now
    if outlasts(redis.call('HGET', key, field), at) then return end
    redis.call('HSET', key, field, int(at))
    raise_revision(key)
  end,

  opt_out = function(effect, who, now)
    local is_known = is_stopped(who.digest, who.account, who.sender)
    opt_out_by_provider(effect, who, now)
    -- The person sent us no stop. Perhaps the number has a new owner, who granted nothing.
    if effect.suspends and not is_known then
      EFFECTS.hold({ holds = C.HOLDS_GRANTS, ms = 0, until_inbound = true, code = 21610 }, who, now)
    end
  end,

  -- After a marketing template the provider may have refused marketing alone. The attempt's intent
  -- says which template it sent.
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
      holds = holds,
      at = at,
      ends = ends,
      until_inbound = effect.until_inbound,
      code = effect.code,
      sender = effect.sender_only and who.sender or C.ANY,
    })
  end,

  withdraw = function(effect, who, now)
    local at = math.floor(who.intent or now)
    if withdraw_marketing(who, at, effect.evidence) then count('opted_out:channel') end
  end,

  pause_sender = function(effect, who, now)
    pause(K.sender(who.sender), now + effect.ms, effect.reason, now)
  end,

  pause_account = function(effect, who, now)
    pause(K.account(who.account), now + effect.ms, effect.reason, now)
  end,

  template = function(effect, who, now)
    if not who.template or who.template == '' then return end
    local key = K.template(who.template)
    redis.call('HSET', key, F.state, effect.state, F.state_reason, effect.reason)
    if effect.ms > 0 then
      redis.call('HSET', key, F.state_until, int(now + effect.ms))
    else
      redis.call('HDEL', key, F.state_until)
    end
    raise_revision(key)
  end,

  -- Where no tag was relied on, the same codes mean something else. Only an attempt that relied on
  -- it speaks for the Page.
  tag = function(effect, who)
    if who.relied_on_tag then set_tag_state(who.sender, effect.state, effect.reason) end
  end,

  suppress = function(effect, who, now)
    local key, at = K.person(who.digest), math.floor(who.intent or now)
    local ends = at + effect.ms
    if outlasts(redis.call('HGET', key, F.suppressed_until), ends) then return end
    if is_outlived(who.digest, nil, at, true) then return end
    if effect.phones_only and who.sent.user_id then return end
    redis.call('HSET', key, F.suppressed_until, int(ends), F.suppressed_for, effect.reason,
      F.suppressed_by, int(at) .. ':' .. source_of(who))
    raise_revision(key)
  end,
}
