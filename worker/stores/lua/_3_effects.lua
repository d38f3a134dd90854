-- What changes the facts: what a provider's word says about person, sender, account, template and tag.
-- Every change bumps the revision of the thing it changes, so that no decision made before is admitted after.

local function pause(key, until_ms, reason)
  if tonumber(redis.call('HGET', key, 'until') or '0') >= until_ms then return end
  redis.call('HSET', key, 'until', int(until_ms), 'reason', reason)
  bump(key)
end

-- A dead tag stays dead until a person resets it; what is in flight no longer counts.
local function set_tag(sender, state, reason)
  local key = K.tag_state(sender)
  local before = redis.call('HGET', key, 'state')
  if before == 'dead' or before == state then return end
  redis.call('HSET', key, 'state', state, 'reason', reason)
  redis.call('HDEL', key, 'message', 'until')
  bump(key)
end

-- The unproven message is no longer on its way: the next one may try.
local function land_tag(sender, id)
  local key = K.tag_state(sender)
  if redis.call('HGET', key, 'message') ~= id then return end
  redis.call('HDEL', key, 'message', 'until')
  bump(key)
end

local EFFECTS = {
  -- What the person did after the POST counts: the window is closed as of the attempt's intent.
  close_window = function(effect, who, now)
    local key = K.person(who.digest)
    local at = who.intent or now
    local before = tonumber(redis.call('HGET', key, 'wc:' .. who.sender) or '0')
    if before >= at then return end
    redis.call('HSET', key, 'wc:' .. who.sender, int(at))
    bump(key)
  end,
  opt_out = opt_out_by_provider,
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
    local key = K.person(who.digest)
    local ends = (who.intent or now) + effect.ms
    if tonumber(redis.call('HGET', key, 'x') or '0') >= ends then return end
    redis.call('HSET', key, 'x', int(ends), 'xr', effect.reason)
    bump(key)
  end,
}

-- Effects on a person need a digest.
local NEEDS_PERSON = { close_window = true, opt_out = true, suppress = true }

-- What is said of a person or a Page holds since the attempt's intent: said again, or late, it changes nothing that came after.
-- A pause and a template's state speak of the moment they are heard at.
local LASTING = { close_window = true, opt_out = true, suppress = true, tag = true }

-- `who`: digest, sender, account, template (ContentSid), intent (ms), tg (the attempt relied on the tag). `only`: kinds of effects, nil for all.
local function apply_effects(effects, who, now, only)
  for _, effect in ipairs(effects or {}) do
    local is_meant = not only or only[effect.t]
    if is_meant and not (NEEDS_PERSON[effect.t] and (who.digest or '') == '') then EFFECTS[effect.t](effect, who, now) end
  end
end

-- Who a provider's late word is about.
local function who_of(row)
  local sender = sender_of(row.l)
  return { digest = row.p, sender = sender, account = redis.call('HGET', K.sender(sender), 'a') or '' }
end
