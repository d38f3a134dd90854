-- include: add_to_timeline, attempt_key, count, follow_pointers, raise_revision, read_hash
-- include: undo_key

-- Takes back what one attempt taught about a person, because its message did arrive. What other
-- attempts taught stays. Returns how much was taken back.
local function undo_on_person(digest, id, attempt)
  local key, source, undone = K.person(digest), attempt_key(id, attempt), 0
  for name, value in pairs(read_hash(key)) do
    if name == F.suppressed_by and string.match(value, '^%d+:(.*)$') == source then
      redis.call('HDEL', key, F.suppressed_until, F.suppressed_for, F.suppressed_by)
      undone = undone + 1
    elseif string.sub(name, 1, #F.block) == F.block
      and string.match(value, '^%d+:%d*:[01]:(.*)$') == source then
      redis.call('HDEL', key, name)
      undone = undone + 1
    end
  end
  if undone > 0 then raise_revision(key) end
  return undone
end

-- Has the next claim look at a pause that was taken back, if its sender or account is parked.
local function look_at_pause(kind, who)
  local name = kind == 's' and 'sender|' .. who.sender or kind == 'a' and 'account|' .. who.account
  if name then redis.call('ZADD', K.parked, 'XX', '0', name) end
end

-- Takes back what the reported failure of an attempt taught, because a later proof of delivery
-- shows that the failure was wrong: wherever the value is still the one that the failure wrote.
-- What it taught about a person carries the attempt's key (`source_of`). For everything else the
-- row records the values before and after (`apply_effects_undoably`).
local function undo_effects(id, row, attempt, who, now)
  local changed, is_any = {}, false
  for entry, values in pairs(row.undo) do
    local number, kind, name = string.match(entry, '^(%d+)(%a)(.*)$')
    if tonumber(number) == attempt then
      local before, after = string.match(values, '^(.-)\n(.*)$')
      local key = undo_key(kind, who)
      if key and (redis.call('HGET', key, name) or '') == after then
        if before == '' then
          redis.call('HDEL', key, name)
        else
          redis.call('HSET', key, name, before)
        end
        changed[key], is_any = true, true
        look_at_pause(kind, who)
      end
      redis.call('HDEL', K.row(id), F.undo .. entry)
      row.undo[entry] = nil
    end
  end
  for key in pairs(changed) do raise_revision(key) end
  local digest = who.digest or ''
  if digest ~= '' and undo_on_person(follow_pointers(digest), id, attempt) > 0 then
    is_any = true
  end
  if is_any then
    count('taken_back')
    add_to_timeline(id, now, 'taken_back', { n = attempt })
  end
end
