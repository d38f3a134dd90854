-- include: attempt_key, attempt_line, int, sid_line, try_decode

-- Returns what the timeline says of each attempt's intent. Only rows of earlier versions have it
-- nowhere else.
local function noted_intents(id)
  local found = {}
  for _, text in ipairs(redis.call('LRANGE', K.timeline(id), 0, -1)) do
    local line = try_decode(text)
    if line and line.e == 'intent' and line.n then found[line.n] = line end
  end
  return found
end

local function move_old_attempts(id, row, old)
  local intents, relied, person = noted_intents(id), {}, row[F.person]
  for number in string.gmatch(old[F.tag_attempts] or '', '%d+') do
    relied[tonumber(number)] = true
  end
  for n = 1, row[F.attempt] do
    local intent, is_last = intents[n] or {}, n == row[F.attempt]
    local at = is_last and tonumber(old[F.intent_at]) or intent.at
    local matters = is_last or relied[n] or int(n) == row[F.accepted_attempt] or old.sids[int(n)]
      or (person and redis.call('ZSCORE', K.permits(person), attempt_key(id, n)))
    if at and matters and not row.attempts[n] then
      write_attempt(id, row, n, {
        at = at,
        form = relied[n] and 'g' or (is_last and old[F.form]) or (intent.template and 't' or 'f'),
        template = intent.template or '',
        marketing = intent.marketing,
        user_id = intent.user_id,
      })
    end
  end
end

-- What earlier versions kept of a report on a SID.
local REPORTED = {
  'status', 'rank', 'final', 'failure', 'code', 'reopen', 'tries', 'redecides', 'reopened',
}

local function move_old_sids(id, row, old)
  local lines = {}
  local function line_of(sid, n)
    local bound = string.match(redis.call('GET', K.sid(sid)) or '', '^(%d+):')
    lines[sid] = lines[sid] or { n = tonumber(n or bound or row[F.attempt]), rank = -1 }
    return lines[sid]
  end
  for n, sid in pairs(old.sids) do line_of(sid, n) end
  local proof, proof_sid = string.match(old[F.evidence] or '', '^(%d+):(.*)$')
  if proof then line_of(proof_sid, proof) end
  for sid, text in pairs(old.callbacks) do
    local report = try_decode(text)
    if report then
      local line = line_of(sid)
      for _, name in ipairs(REPORTED) do line[name] = report[name] or nil end
      if report.status == 'delivered' then line.rank = math.max(line.rank, C.RANK_DELIVERED) end
    end
  end
  local copy_fence, own_sid = old[F.copy_fence], row[F.message_sid]
  if copy_fence and own_sid and row[F.fence] == '-' .. copy_fence then
    line_of(own_sid, row[F.accepted_attempt]).copied_by_reply = true
  end
  for sid, line in pairs(lines) do
    line.rank = line.rank or -1
    write_sid(id, row, sid, line)
  end
end

-- Moves what earlier versions kept in other fields into the attempts table. `old`: those fields by
-- name, and `sids`, `callbacks` and `discarded_rank`.
local function move_old_fields(id, row, old)
  local key = K.row(id)
  move_old_attempts(id, row, old)
  move_old_sids(id, row, old)
  if old[F.uncounted] then
    row.free_attempts = tonumber(old[F.uncounted])
    redis.call('HSET', key, F.free_attempts, old[F.uncounted])
  end
  if old.discarded_rank then
    row.discarded_rank = tonumber(old.discarded_rank)
    redis.call('HSET', key, F.discarded_rank, old.discarded_rank)
  end
  -- In earlier versions `delivered` ranked with the failures, at 60.
  if row[F.status] == 'delivered' and row[F.status_rank] == '60' then
    row[F.status_rank] = int(C.RANK_DELIVERED)
    redis.call('HSET', key, F.status_rank, row[F.status_rank])
  end
  redis.call('HDEL', key, unpack(old.names))
end
