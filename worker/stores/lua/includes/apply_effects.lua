-- include: effects, follow_pointers, has_too_many_errors, hold_effect

-- Effects on a person, which need a digest.
local NEEDS_PERSON = {
  close_window = true, opt_out = true, hold = true, withdraw = true, suppress = true,
}

-- Applies effects, or holds them where there are too many.
-- `who`: digest, sender, account, template (ContentSid), intent (ms), relied_on_tag (of the
-- attempt), id and attempt, and `sent`: what the attempt was, as far as an effect depends on it
-- (marketing, user_id).
-- `only`: the kinds of effects to apply, nil for all.
local function apply_effects(effects, who, now, only)
  if (effects or {})[1] and (who.digest or '') ~= '' then
    who.digest = follow_pointers(who.digest)
  end
  for _, effect in ipairs(effects or {}) do
    local is_meant = not only or only[effect.t]
    if is_meant and not (NEEDS_PERSON[effect.t] and (who.digest or '') == '') then
      local is_many, is_new = false, true
      if effect.guard then is_many, is_new = has_too_many_errors(who, effect.guard) end
      if not is_many then
        EFFECTS[effect.t](effect, who, now)
      elseif is_new then
        hold_effect(effect, who, now)
      end
    end
  end
end
