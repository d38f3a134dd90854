-- include: apply_effects, apply_effects_undoably, free_tag_of_attempt, set_tag_state, subject_of
-- include: undo_effects

local PROVES_TAG = { sent = true, delivered = true, read = true }
local IS_DELIVERED = { delivered = true, read = true }

-- Applies what a status teaches about person, sender, account, template and Page. `had_failed`:
-- until now this SID was reported as failed. `only`: the kinds of effects to apply, nil for all.
local function apply_report_effects(id, row, attempt, update, now, only, had_failed)
  local who = subject_of(id, row, attempt)
  if had_failed and IS_DELIVERED[update.status] then undo_effects(id, row, attempt, who, now) end
  if update.failure then
    apply_effects_undoably(id, row, attempt, update.effects, who, now, only)
  else
    apply_effects(update.effects, who, now, only)
  end
  if who.relied_on_tag and PROVES_TAG[update.status] then
    set_tag_state(who.sender, C.TAG_PROVEN, 'sent')
  elseif who.relied_on_tag and update.failure then
    free_tag_of_attempt(id, row, attempt)
  end
end
