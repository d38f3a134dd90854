-- One person under several digests. Each spelling of an address has a digest of its own, and only
-- the scripts and processes that hold the address can tell that they are one person.
-- Records are kept under the canonical digest. A record that another release wrote under another
-- digest moves there when a script touches it. A pointer `to` stays behind for the rows that name
-- the old digest. Permits and waiting lists do not move, because rows name them: the field `sp`
-- lists the digests that they may be under.
-- A text of digests is what `PersonDigests.persons_of` returns: digests separated by spaces, the
-- canonical one first.

-- Declared before the block, so that its other functions do not count towards Lua's limit of 200
-- local variables.
local first_of, gather, gathered, join, peek, all_of, open_permits

do
  local POINTER_FIELDS = 2
  local MAX_ALIASES = 32
  local SCRATCH, COPY = 'scratch', 'copy'

  function first_of(names)
    return string.sub(names, 1, DIGEST)
  end

  local function each_other(names)
    return string.gmatch(string.sub(names, DIGEST + 2), '%x+')
  end

  local function has_others(names)
    if #names <= DIGEST then return false end
    local keys = {}
    for digest in each_other(names) do keys[#keys + 1] = K.person(digest) end
    return redis.call('EXISTS', unpack(keys)) > 0
  end

  -- Returns the value that says more: the later instant, or the higher count. A value that is not a
  -- number stays as it is.
  local function later_of(mine, theirs)
    if not mine then return theirs end
    local ours, others = string.match(mine, '^%-?%d+'), string.match(theirs, '^%-?%d+')
    return (tonumber(others) or 0) > (tonumber(ours) or 0) and theirs or mine
  end

  -- Returns the marks of the last inbound messages, theirs first, because the first ones are
  -- dropped when there are too many.
  local function marks_of(mine, theirs)
    local marks, seen = {}, {}
    for mark in string.gmatch(theirs .. (mine or ''), string.rep('%x', MARK)) do
      if not seen[mark] then marks[#marks + 1] = mark end
      seen[mark] = true
    end
    return table.concat(marks, '', math.max(1, #marks - REMEMBERED + 1))
  end

  -- A revision that is not a number counts as one that no decision has seen.
  local function revision_of(text)
    return instant(text or '0') or tonumber(redis.call('TIME')[1] .. '000')
  end

  -- Fields that are not merged by their value alone.
  local OTHERWISE = { r = true, to = true, sp = true, ['in'] = true }

  -- Returns what a person's hash must hold once another one is merged into it, consent left out.
  local function merged_fields(mine, theirs, from)
    local merged = {}
    local is_held_longer = theirs.x and not outlasts(mine.x, instant(theirs.x) or math.huge)
    for name, value in pairs(theirs) do
      if string.sub(name, 1, 1) == 'x' then
        -- A suppression, its end and its reason belong together.
        if is_held_longer then merged[name] = value end
      elseif string.match(name, '^h:') then
        -- The first sentence that may mean stop stays the evidence.
        merged[name] = mine[name] or value
      elseif not OTHERWISE[name] and not string.match(name, '^[cdos]:') then
        merged[name] = later_of(mine[name], value)
      end
    end
    if theirs['in'] then merged['in'] = marks_of(mine['in'], theirs['in']) end
    local aliases = all_of((mine.sp or '') .. ' ' .. (theirs.sp or '') .. ' ' .. from)
    merged.sp = table.concat(aliases, ' ', 1, math.min(#aliases, MAX_ALIASES))
    return merged
  end

  local function latest_grant(value)
    local latest = 0
    for at in string.gmatch(',' .. (value or ''), ',1:(%d+):') do latest = math.max(latest, tonumber(at)) end
    return latest
  end

  -- If the last word of a record is a withdrawal, it holds against later grants in the other
  -- record, because their author did not know of it. It does not hold against a later START, which
  -- came from the person. The next two functions return what to withdraw once more, and as of when.
  local function all_outlasting(name, value, stopped, granted, others)
    local account, scope = string.match(name, '^o:([^|]*)|(.*)$')
    local at = tonumber(value)
    if not account or not at or last_word(stopped, account, true) > at then return nil end
    local told = setmetatable({ [name] = value }, { __index = others })
    if is_undone(name, told, stop_scope(scope)) then return nil end
    local granted_at = last_word(granted, account, true)
    return granted_at > at and { account = account, scope = scope, at = granted_at } or nil
  end

  local function purpose_outlasting(name, value, fields, others)
    local kind, rest = string.match(name, '^([cd]):([^|]*|[^*|]+|.*)$')
    local at = kind and tonumber(kind == 'd' and value or string.match(',' .. value, ',0:(%d+):'))
    if not at or latest_grant(fields['c:' .. rest]) > at then return nil end
    local granted_at = latest_grant(others['c:' .. rest])
    local account, purpose, place = string.match(rest, '^(.-)|(.-)|(.*)$')
    return granted_at > at and { account = account, purpose = purpose, scope = place, at = granted_at, rest = rest } or nil
  end

  local function outlasting(stopped, granted)
    local found = {}
    local fields, others = by_name(K.person(stopped)), by_name(K.person(granted))
    for name, value in pairs(fields) do
      found[#found + 1] = all_outlasting(name, value, stopped, granted, others) or purpose_outlasting(name, value, fields, others)
    end
    return found
  end

  local function withdraw_again(digest, one)
    local line = { at = one.at, granted = false, account = one.account, purpose = one.purpose, source = 'other spelling' }
    if one.scope ~= '*' then line.sender = string.match(one.scope, '^[^|]*') end
    if one.purpose then
      unite(K.person(digest), 'd:' .. one.rest, int(one.at))
      ledger(digest, line)
    else
      opt_out(digest, one.account, one.scope, one.at, line)
    end
  end

  -- Merges one record of a person into another: the strictest consent, the latest inbound, the
  -- longest suppression.
  -- The revision becomes higher than both were, so that no decision made before is admitted.
  local function combine(from, into)
    local theirs, mine = by_name(K.person(from)), by_name(K.person(into))
    local key = K.person(into)
    local withdrawals = { outlasting(from, into), outlasting(into, from) }
    merge_consents(from, into)
    for _, each in ipairs(withdrawals) do
      for _, one in ipairs(each) do withdraw_again(into, one) end
    end
    for name, value in pairs(merged_fields(mine, theirs, from)) do redis.call('HSET', key, name, value) end
    local revision = math.max(revision_of(redis.call('HGET', key, 'r')), revision_of(theirs.r))
    redis.call('HSET', key, 'r', int(revision + 1))
    if redis.call('ZUNIONSTORE', K.sent_to(into), 2, K.sent_to(into), K.sent_to(from), 'AGGREGATE', 'MAX') > 0 then
      redis.call('PEXPIRE', K.sent_to(into), int(DAY + 1000))
    end
  end

  local function forget(digest)
    redis.call('DEL', K.person(digest), K.consents(digest), K.sent_to(digest))
  end

  -- Lists the suspected stops of a record under the digest that it moves to.
  local function list_again(from, into)
    for name, value in pairs(by_name(K.person(from))) do
      local account = string.match(name, '^h:([^|]*)$')
      if account then
        redis.call('ZREM', K.suspected_stops, from .. '|' .. account)
        redis.call('ZADD', K.suspected_stops, 'NX', string.match(value, '^%d+') or '0', into .. '|' .. account)
      end
    end
  end

  local function move(from, into)
    local key = K.person(from)
    local revision = revision_of(redis.call('HGET', key, 'r'))
    list_again(from, into)
    combine(from, into)
    forget(from)
    -- The revision rises here too, so that what an older worker decided by the old record is not
    -- admitted.
    redis.call('HSET', key, 'to', into, 'r', int(revision + 1))
  end

  -- Returns the digests whose records are not under `root` yet. An older worker may have written to
  -- a digest after it became a pointer.
  local function elsewhere(names, root)
    local found = {}
    for digest in each_other(names) do
      local there = resolve(digest)
      local fields = redis.call('HLEN', K.person(digest))
      if there ~= root and (there ~= digest or fields > 0) then found[#found + 1] = there end
      if there ~= digest and fields > POINTER_FIELDS then found[#found + 1] = digest end
    end
    return found
  end

  -- Moves a person's records under one digest and returns the text with that digest first. That
  -- digest may be a pointer that a WaId left.
  -- For an address with one spelling this costs nothing. While nothing was written under the other
  -- digests it costs one EXISTS.
  function gather(names)
    if not has_others(names) then return names end
    local root = resolve(first_of(names))
    for _, digest in ipairs(elsewhere(names, root)) do move(digest, root) end
    return root .. string.sub(names, DIGEST + 1)
  end

  -- Moves a person's records and returns the digest that they are under.
  function gathered(names)
    return resolve(first_of(gather(names)))
  end

  -- Adds to a person digests that no data connects with that person. Later records under these
  -- digests are found by the pointer.
  function join(person, digests)
    for digest in string.gmatch(digests, '%x+') do
      local there = resolve(digest)
      if there ~= person then
        move(there, person)
      elseif digest ~= person and redis.call('HLEN', K.person(digest)) > POINTER_FIELDS then
        move(digest, person)
      end
    end
  end

  -- Returns what `look` returns for the whole person, and the digest of the canonical record. Moves
  -- nothing.
  function peek(names, look)
    local root = resolve(first_of(names))
    local others = has_others(names) and elsewhere(names, root) or {}
    if #others == 0 then return look(root), root end
    table.insert(others, 1, root)
    for _, digest in ipairs(others) do
      for _, key in ipairs({ K.person, K.consents, K.sent_to }) do redis.call('COPY', key(digest), key(COPY), 'REPLACE') end
      combine(COPY, SCRATCH)
      forget(COPY)
    end
    local answer = look(SCRATCH)
    forget(SCRATCH)
    return answer, root
  end

  -- Returns every digest in a text and in `aliases` once. `aliases` is the field `sp`, which the
  -- caller has read together with other fields.
  function all_of(names, aliases)
    local found, seen = {}, {}
    for digest in string.gmatch(names .. ' ' .. (aliases or ''), '%S+') do
      if not seen[digest] then found[#found + 1] = digest end
      seen[digest] = true
    end
    return found
  end

  -- Returns the milliseconds until the last unsettled permit of any of these digests lapses. It is
  -- negative when that permit has lapsed, and 0 when every permit is settled.
  function open_permits(digests, now)
    local longest
    for _, digest in ipairs(digests) do
      local left = permits_left(digest, now)
      if left ~= 0 then longest = math.max(longest or left, left) end
    end
    return longest or 0
  end
end
