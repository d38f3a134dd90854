-- The attempts table of a row (docs/decisions/0018): what each attempt and each of its SIDs left
-- behind. Its fields begin with `@`.
-- `load` reads it together with the row. It also moves into it what earlier versions kept in other
-- fields.

-- What other parts use. The rest stays local to the block, because a script may have 200 local
-- variables at most.
local mark_of, write_sid, drop_sid, write_attempt, mark_gone, load, YIELDS_TO_PROOF, requeue, begin_life

do
  function mark_of(id, attempt)
    return int(attempt) .. ':' .. id
  end

  -- Letter of a flag in a SID's line → its name.
  local FLAGS = { f = 'failure', e = 'final', w = 'redecides', r = 'reopened', c = 'copied', C = 'copied_by_reply' }
  local FLAG_ORDER = { 'f', 'e', 'w', 'r', 'c', 'C' }

  local function read_sid(text)
    local n, rank, flags, status, code, reopen, tries = string.match(text, '^(%d+),(%-?%d+),(%a*),([^,]*),(%d*),(%d*),(%d*)$')
    if not n then return nil end
    local line = {
      n = tonumber(n), rank = tonumber(rank), status = status, code = tonumber(code), reopen = tonumber(reopen), tries = tonumber(tries),
    }
    for letter in string.gmatch(flags, '%a') do line[FLAGS[letter] or letter] = true end
    return line
  end

  local function optional(number)
    return number and int(number) or ''
  end

  function write_sid(id, row, sid, line)
    local flags = ''
    for _, letter in ipairs(FLAG_ORDER) do
      if line[FLAGS[letter]] then flags = flags .. letter end
    end
    local parts = {
      int(line.n), int(line.rank), flags, line.status or '', optional(line.code), optional(line.reopen), optional(line.tries),
    }
    row.sids[sid] = line
    redis.call('HSET', K.row(id), '@' .. sid, table.concat(parts, ','))
  end

  function drop_sid(id, row, sid)
    row.sids[sid] = nil
    redis.call('HDEL', K.row(id), '@' .. sid)
  end

  -- An attempt's line: intent (ms), form, ContentSid; then `!` and what else the attempt was (m: a
  -- marketing template, u: to a user id); then `-` once it is proven that the attempt led to
  -- nothing.
  local function read_attempt(text)
    local at, form, template, more, gone = string.match(text, '^(%d+)(%a)([^!%-]*)!?(%a*)(%-?)$')
    if not at then return nil end
    return {
      at = tonumber(at), form = form, template = template, is_gone = gone ~= '',
      marketing = string.find(more, 'm', 1, true) ~= nil, user_id = string.find(more, 'u', 1, true) ~= nil,
    }
  end

  function write_attempt(id, row, n, attempt)
    row.attempts[n] = attempt
    local more = (attempt.marketing and 'm' or '') .. (attempt.user_id and 'u' or '')
    local text = int(attempt.at) .. attempt.form .. attempt.template .. (more ~= '' and '!' .. more or '') .. (attempt.is_gone and '-' or '')
    redis.call('HSET', K.row(id), '@' .. int(n), text)
  end

  -- Marks an attempt that is proven to have led to nothing. Its line goes when the next attempt
  -- begins, so that rounds do not make the row grow.
  function mark_gone(id, row, n)
    local attempt = row.attempts[n]
    if not attempt or attempt.is_gone then return end
    attempt.is_gone = true
    write_attempt(id, row, n, attempt)
  end

  -- Returns the number of the last attempt that is listed. It stands in for a count that cannot be
  -- read.
  local function most_of(attempts)
    local most = 0
    for n in pairs(attempts) do most = math.max(most, n) end
    return most
  end

  local function read_entry(row, name, value)
    if name == '0' then
      row.free = times(value) or 0
    elseif name == '~' then
      row.let_go = tonumber(value)
    elseif string.sub(name, 1, 1) == '-' then
      row.undo[string.sub(name, 2)] = value
    elseif times(name) then
      row.attempts[tonumber(name)] = read_attempt(value)
    else
      row.sids[name] = read_sid(value)
    end
  end

  -- Returns what the timeline says of each attempt's intent. Only rows of earlier versions have it
  -- nowhere else.
  local function noted_intents(id)
    local found = {}
    for _, text in ipairs(redis.call('LRANGE', K.timeline(id), 0, -1)) do
      local line = decoded(text)
      if line and line.e == 'intent' and line.n then found[line.n] = line end
    end
    return found
  end

  local function fold_attempts(id, row, old)
    local intents, relied = noted_intents(id), {}
    for number in string.gmatch(old.tg or '', '%d+') do relied[tonumber(number)] = true end
    for n = 1, row.n do
      local intent = intents[n] or {}
      local at = n == row.n and tonumber(old.i) or intent.at
      local matters = n == row.n or relied[n] or int(n) == row.a or old.sids[int(n)]
        or (row.p and redis.call('ZSCORE', K.permits(row.p), mark_of(id, n)))
      if at and matters and not row.attempts[n] then
        local form = relied[n] and 'g' or (n == row.n and old.fm) or (intent.template and 't' or 'f')
        write_attempt(id, row, n, {
          at = at, form = form, template = intent.template or '', marketing = intent.marketing, user_id = intent.user_id,
        })
      end
    end
  end

  local function fold_sids(id, row, old)
    local lines = {}
    local function line_of(sid, n)
      local bound = string.match(redis.call('GET', K.sid(sid)) or '', '^(%d+):')
      lines[sid] = lines[sid] or { n = tonumber(n or bound or row.n), rank = -1 }
      return lines[sid]
    end
    for n, sid in pairs(old.sids) do line_of(sid, n) end
    local proof, proof_sid = string.match(old.ev or '', '^(%d+):(.*)$')
    if proof then line_of(proof_sid, proof) end
    for sid, text in pairs(old.callbacks) do
      local told = decoded(text)
      if told then
        local line = line_of(sid)
        for _, name in ipairs({ 'status', 'rank', 'final', 'failure', 'code', 'reopen', 'tries', 'redecides', 'reopened' }) do
          line[name] = told[name] or nil
        end
        if told.status == 'delivered' then line.rank = math.max(line.rank, 65) end
      end
    end
    if old.dup and row.sid and row.f == '-' .. old.dup then line_of(row.sid, row.a).copied_by_reply = true end
    for sid, line in pairs(lines) do
      line.rank = line.rank or -1
      write_sid(id, row, sid, line)
    end
  end

  -- Moves what earlier versions kept in other fields into the table. `old`: those fields by name,
  -- and `sids` and `callbacks`.
  local function fold(id, row, old)
    local key = K.row(id)
    fold_attempts(id, row, old)
    fold_sids(id, row, old)
    if old.fa then
      row.free = tonumber(old.fa)
      redis.call('HSET', key, '@0', old.fa)
    end
    if old.let_go then
      row.let_go = tonumber(old.let_go)
      redis.call('HSET', key, '@~', old.let_go)
    end
    -- In this version `delivered` ranks above the failures.
    if row.st == 'delivered' and row.sr == '60' then
      row.sr = '65'
      redis.call('HSET', key, 'sr', '65')
    end
    redis.call('HDEL', key, unpack(old.names))
  end

  local OLD = { ev = true, dup = true, fa = true, tg = true, i = true, fm = true }

  local function set_old(old, name, value)
    local kind, rest = string.match(name, '^(%a+):(.*)$')
    if OLD[name] then
      old[name] = value
    elseif kind == 'sid' then
      old.sids[rest] = value
    elseif kind == 'cb' and rest == '' then
      old.let_go = value
    elseif kind == 'cb' then
      old.callbacks[rest] = value
    else
      return false
    end
    old.names[#old.names + 1] = name
    return true
  end

  -- Returns the whole row with its table, nil when there is none: `attempts` by number, `sids` by
  -- SID, `undo`, `free` (attempts that are not tries) and `let_go`. `i` and `fm` are those of the
  -- last attempt. For a row of an earlier version it also reads timeline, permits and sid, and
  -- writes the row.
  function load(id)
    local fields = redis.call('HGETALL', K.row(id))
    local row = { attempts = {}, sids = {}, undo = {}, free = 0, let_go = -1 }
    local old = { names = {}, sids = {}, callbacks = {} }
    for at = 1, #fields, 2 do
      local name, value = fields[at], fields[at + 1]
      if string.byte(name) == 64 then
        read_entry(row, string.sub(name, 2), value)
      elseif not set_old(old, name, value) then
        row[name] = value
      end
    end
    if not row.s then return nil end
    row.n = times(row.n or '0') or most_of(row.attempts)
    if #old.names > 0 then fold(id, row, old) end
    local last = row.attempts[row.n]
    row.i = last and int(last.at)
    row.fm = last and (last.form == 'g' and 'f' or last.form)
    row.has_failed = row.st == 'failed' or row.st == 'undelivered' or row.st == 'canceled'
    return row
  end

  -- Stages of a message without a proven outcome, which proof of acceptance ends. `posting` is not
  -- among them, because its own reply is awaited.
  YIELDS_TO_PROOF = {
    queued = true, waiting = true, retrying = true, claimed = true, unknown = true, unresolved = true,
  }

  -- Puts a message back into its lane. If a cancel was asked for meanwhile, it ends the message
  -- instead.
  function requeue(id, row, stage, reason, due, now)
    leave(id, row)
    if row.x then
      end_message(id, row, 'cancelled', 'cancelled', nil, now)
      return
    end
    redis.call('HSET', K.row(id), 's', stage, 'r', reason)
    row.s = stage
    to_lane(row.l, id, due, now)
  end

  -- Begins another life of a message that had ended, because of an operator or a reported failure.
  function begin_life(id, row)
    local key = K.row(id)
    redis.call('PERSIST', key)
    redis.call('PERSIST', K.timeline(id))
    redis.call('PERSIST', K.job(id))
    redis.call('HSET', key, 'lf', int((times(row.lf) or 1) + 1))
  end
end
