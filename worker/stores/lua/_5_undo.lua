-- What a reported failure taught, written down so that a later proof of delivery takes it back.

-- Where an effect writes: p (person) unless it is named here; s (sender), a (account), c (content template).
local WRITES_TO = { pause_sender = 's', pause_account = 'a', template = 'c' }

-- A stop counts in whatever order the reports come; a Page's dead tag is reset by hand only.
local STANDS = { opt_out = true, withdraw = true, tag = true }

local function undo_key(kind, who)
  if kind == 'p' then return (who.digest or '') ~= '' and K.person(who.digest) or nil end
  if kind == 's' then return K.sender(who.sender) end
  if kind == 'a' then return who.account ~= '' and K.account(who.account) or nil end
  if kind == 'c' then return (who.template or '') ~= '' and K.template(who.template) or nil end
end

-- Applies effects of a failure and keeps, for each field they changed, its value before and after.
local function apply_undoably(id, row, attempt, effects, who, now, only)
  local lasting, others, before = {}, {}, {}
  for _, effect in ipairs(effects) do
    local list = STANDS[effect.t] and lasting or others
    list[#list + 1] = effect
    local kind = WRITES_TO[effect.t] or 'p'
    local key = list == others and undo_key(kind, who)
    if key then before[kind] = by_name(key) end
  end
  apply_effects(others, who, now, only)
  for kind, was in pairs(before) do
    local is = by_name(undo_key(kind, who))
    for name in pairs(was) do is[name] = is[name] or '' end
    for name, value in pairs(is) do
      if name ~= 'r' and value ~= (was[name] or '') then
        local entry = int(attempt) .. kind .. name
        row.undo[entry] = (was[name] or '') .. '\n' .. value
        redis.call('HSET', K.row(id), '@-' .. entry, row.undo[entry])
      end
    end
  end
  apply_effects(lasting, who, now, only)
end

-- Takes back what the failure of an attempt taught, where it still stands as the failure wrote it.
local function undo_effects(id, row, attempt, who, now)
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
  if found then
    count('taken_back')
    note(id, now, 'taken_back', '"n":' .. int(attempt))
  end
end
