-- include: attempt_line, int, mark_of_cancel, move_old_fields, read_count, sid_line

-- The byte that each name in the attempts table of a row begins with (docs/decisions/0018).
local TABLE_BYTE = string.byte(F.table)

-- Returns the number of the last attempt that is listed. It stands in for a count that cannot be
-- read.
local function most_of(attempts)
  local most = 0
  for n in pairs(attempts) do most = math.max(most, n) end
  return most
end

-- Reads one field of the attempts table.
local function read_entry(row, field, value)
  local name = string.sub(field, #F.table + 1)
  if field == F.free_attempts then
    row.free_attempts = read_count(value) or 0
  elseif field == F.discarded_rank then
    row.discarded_rank = tonumber(value)
  elseif string.sub(field, 1, #F.undo) == F.undo then
    row.undo[string.sub(field, #F.undo + 1)] = value
  elseif read_count(name) then
    row.attempts[tonumber(name)] = read_attempt(value)
  else
    row.sids[name] = read_sid(value)
  end
end

local OLD = C.OLD_FIELDS
local FAILURES = C.FAILURE_STATUSES

-- Takes a field that only earlier versions wrote. Returns whether it is one.
local function take_old_field(old, name, value)
  local kind, rest = string.match(name, '^(%a+):(.*)$')
  if OLD[name] then
    old[name] = value
  elseif kind == 'sid' then
    old.sids[rest] = value
  elseif kind == 'cb' and rest == '' then
    old.discarded_rank = value
  elseif kind == 'cb' then
    old.callbacks[rest] = value
  else
    return false
  end
  old.names[#old.names + 1] = name
  return true
end

-- Returns the whole row with its table, nil when there is none: `attempts` by number, `sids` by
-- SID, `undo`, `free_attempts` (those that are not tries) and `discarded_rank`; `last_intent` and
-- `last_form` of the last attempt; and `has_failed`: its status is a failure. For a row of an
-- earlier version it also reads timeline, permits and sid, and writes the row. A message that was
-- cancelled with its campaign has the mark of a cancel in the returned row, but not in the store.
local function load_row(id)
  local fields = redis.call('HGETALL', K.row(id))
  local row = { attempts = {}, sids = {}, undo = {}, free_attempts = 0, discarded_rank = -1 }
  local old = { names = {}, sids = {}, callbacks = {} }
  for at = 1, #fields, 2 do
    local name, value = fields[at], fields[at + 1]
    if string.byte(name) == TABLE_BYTE then
      read_entry(row, name, value)
    elseif not take_old_field(old, name, value) then
      row[name] = value
    end
  end
  if not row[F.stage] then return nil end
  row[F.attempt] = read_count(row[F.attempt] or '0') or most_of(row.attempts)
  if #old.names > 0 then move_old_fields(id, row, old) end
  local last, status = row.attempts[row[F.attempt]], row[F.status]
  row.last_intent = last and int(last.at)
  row.last_form = last and (last.form == 'g' and 'f' or last.form)
  row.has_failed = FAILURES[status] or false
  row[F.cancel_asked] = mark_of_cancel(row[F.cancel_asked], row[F.lane], row[F.enqueued_at])
  return row
end
