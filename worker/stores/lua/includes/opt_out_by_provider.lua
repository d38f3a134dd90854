-- include: count, int, last_word, opt_out, stop_scope, unite_consent

-- Records what a provider's refusal says of the person: they opted out, at the sender or
-- everywhere, as of the attempt's intent.
-- A stop at a sender of a messaging service holds for the whole service. It also stays with this
-- sender when the sender leaves the service.
local function opt_out_by_provider(effect, who, now)
  local key, at = K.person(who.digest), math.floor(who.intent or now)
  -- A grant dated in the future was given before the clock was set back. Its date does not prove
  -- that it came after this attempt.
  local granted_at = last_word(who.digest, who.account, true)
  if granted_at > now then at = granted_at + 1 end
  local scope = effect.sender_only and stop_scope(who.sender) or C.ANY
  local line = {
    at = at,
    granted = false,
    account = who.account,
    sender = effect.sender_only and scope or nil,
    source = 'provider',
    evidence = effect.evidence,
  }
  if opt_out(who.digest, who.account, scope, at, line) then count('opted_out:provider') end
  local started = redis.call('HGET', key, F.started .. who.account .. '|' .. scope)
  if effect.sender_only and scope ~= who.sender and (tonumber(started or '') or 0) <= at then
    local own_scope = who.account .. '|' .. who.sender .. '|' .. scope
    unite_consent(key, F.opted_out .. own_scope, int(at))
  end
end
