-- Takes back what a reported failure taught, when a later proof of delivery shows that the failure
-- was wrong.
-- What it taught about a person carries the attempt's mark (`taught_by`). For everything else the
-- row records the values before and after.

-- What other parts use. The rest stays local to the block, because a script may have 200 local
-- variables at most.
local apply_undoably, undo_effects

do
  -- Where an effect writes whose change is recorded: p (person), s (sender), a (account), c
  -- (content template).
  -- Two effects are missing: a stop, which counts in whatever order the reports come, and a Page's
  -- dead tag, which only an operator resets.
  local WRITES_TO = { close_window = 'p', pause_sender = 's', pause_account = 'a', template = 'c' }

  local function undo_key(kind, who)
    if kind == 'p' then return (who.digest or '') ~= '' and K.person(resolve(who.digest)) or nil end
    if kind == 's' then return K.sender(who.sender) end
    if kind == 'a' then return who.account ~= '' and K.account(who.account) or nil end
    if kind == 'c' then return (who.template or '') ~= '' and K.template(who.template) or nil end
  end

  local function keep_change(id, row, attempt, kind, name, was, is)
    local entry = int(attempt) .. kind .. name
    row.undo[entry] = was .. '\n' .. is
    redis.call('HSET', K.row(id), '@-' .. entry, row.undo[entry])
  end

  -- Applies the effects of a failure. For each field that an effect in `WRITES_TO` changes, it
  -- records the value before and after.
  function apply_undoably(id, row, attempt, effects, who, now, only)
    local kept, others, before = {}, {}, {}
    for _, effect in ipairs(effects) do
      local kind = WRITES_TO[effect.t]
      local list = kind and kept or others
      list[#list + 1] = effect
      local key = kind and undo_key(kind, who)
      if key then before[kind] = by_name(key) end
    end
    apply_effects(kept, who, now, only)
    for kind, was in pairs(before) do
      local is = by_name(undo_key(kind, who))
      for name in pairs(was) do is[name] = is[name] or '' end
      for name, value in pairs(is) do
        if name ~= 'r' and value ~= (was[name] or '') then keep_change(id, row, attempt, kind, name, was[name] or '', value) end
      end
    end
    apply_effects(others, who, now, only)
  end

  -- Takes back what one attempt taught about a person, because its message did arrive. What other
  -- attempts taught stays. Returns how much was taken back.
  local function undo_taught(digest, id, attempt)
    local key, mark, undone = K.person(digest), int(attempt) .. ':' .. id, 0
    for name, value in pairs(by_name(key)) do
      if name == 'xt' and string.match(value, '^%d+:(.*)$') == mark then
        redis.call('HDEL', key, 'x', 'xr', 'xt')
        undone = undone + 1
      elseif string.sub(name, 1, 2) == 'b:' and string.match(value, '^%d+:%d*:[01]:(.*)$') == mark then
        redis.call('HDEL', key, name)
        undone = undone + 1
      end
    end
    if undone > 0 then bump(key) end
    return undone
  end

  -- Takes back what the failure of an attempt taught, wherever the value is still the one that the
  -- failure wrote.
  function undo_effects(id, row, attempt, who, now)
    local bumped, found = {}, false
    for entry, values in pairs(row.undo) do
      local number, kind, name = string.match(entry, '^(%d+)(%a)(.*)$')
      if tonumber(number) == attempt then
        local before, after = string.match(values, '^(.-)\n(.*)$')
        local key = undo_key(kind, who)
        if key and (redis.call('HGET', key, name) or '') == after then
          if before == '' then redis.call('HDEL', key, name) else redis.call('HSET', key, name, before) end
          bumped[key], found = true, true
        end
        redis.call('HDEL', K.row(id), '@-' .. entry)
        row.undo[entry] = nil
      end
    end
    for key in pairs(bumped) do bump(key) end
    if (who.digest or '') ~= '' and undo_taught(resolve(who.digest), id, attempt) > 0 then found = true end
    if found then
      count('taken_back')
      note(id, now, 'taken_back', '"n":' .. int(attempt))
    end
  end
end
