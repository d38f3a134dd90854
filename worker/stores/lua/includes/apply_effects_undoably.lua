-- include: apply_effects, int, read_hash, undo_key

-- Where an effect writes whose change is recorded, as the letters of `undo_key`.
-- Two effects are missing: a stop, which counts in whatever order the reports come, and a Page's
-- dead tag, which only an operator resets.
local WRITES_TO = { close_window = 'p', pause_sender = 's', pause_account = 'a', template = 'c' }

-- Records the value of a field before and after.
local function record_change(id, row, attempt, kind, name, was, is)
  local entry = int(attempt) .. kind .. name
  row.undo[entry] = was .. '\n' .. is
  redis.call('HSET', K.row(id), F.undo .. entry, row.undo[entry])
end

-- Applies the effects of a failure. For each field that an effect in `WRITES_TO` changes, it
-- records the value before and after.
local function apply_effects_undoably(id, row, attempt, effects, who, now, only)
  local kept, others, before = {}, {}, {}
  for _, effect in ipairs(effects) do
    local kind = WRITES_TO[effect.t]
    local list = kind and kept or others
    list[#list + 1] = effect
    local key = kind and undo_key(kind, who)
    if key then before[kind] = read_hash(key) end
  end
  apply_effects(kept, who, now, only)
  for kind, was in pairs(before) do
    local is = read_hash(undo_key(kind, who))
    for name in pairs(was) do is[name] = is[name] or '' end
    for name, value in pairs(is) do
      local old = was[name] or ''
      if name ~= F.revision and value ~= old then
        record_change(id, row, attempt, kind, name, old, value)
      end
    end
  end
  apply_effects(others, who, now, only)
end
