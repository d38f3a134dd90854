-- Acts on unknown attempts by the rules of their messages.
-- ARGV: request id, then for each a JSON object and the rest of its timeline note. The object:
--   id, n, kind again|end|unknown|unresolved, stage, reason, code, due, delay, look.
-- Returns for each the stage that it came to, '' when the attempt is no longer unknown. A message
-- that was asked to be cancelled ends instead of being sent again.
-- Keys: meta, answered, row, timeline, job, unknown, unresolved, lane, ready, timers, wake,
-- waiting, permits, dead, unreadable, tag_state, counts.
-- Callers: `UnknownStore.resolve`, for the unknown search and for the operator's commands.
local now = clock()

local KINDS = {
  again = function(id, row, r, rest)
    local mark = restored_mark(id, row)
    if mark and not mark.is_posted then
      redis.call('HDEL', K.row(id), 'lo')
      if not row.x then note(id, now, mark.stage, rest) end
      count('resolved:' .. (row.x and 'cancelled' or r.reason))
      back_from_copy(id, row, mark, r.reason, now)
      return
    end
    -- Only a proven list or an operator can say that the attempt is not on its way. If the message
    -- is sent again without that, the Page stays taken until its term ends.
    local is_absent = r.reason == 'evidence_person' or (r.reason == 'resent_by_rule' and row.u == 'resend_if_absent')
    if is_absent and relied_on_tag(row, row.n) then land_attempt(id, row, row.n) end
    redis.call('HDEL', K.row(id), 'lo')
    if not row.x then note(id, now, r.stage, rest) end
    count('resolved:' .. (row.x and 'cancelled' or r.reason))
    requeue(id, row, r.stage, r.reason, r.due or now + r.delay, now)
  end,
  ['end'] = function(id, row, r, rest)
    end_message(id, row, r.stage, r.reason, r.code and int(r.code), now, rest)
    count('resolved:' .. r.reason)
  end,
  unknown = function(id, row, r, rest)
    leave(id, row)
    redis.call('ZADD', K.unknown, int(now + lead + r.look), id)
    redis.call('HSET', K.row(id), 's', 'unknown', 'r', r.reason)
    row.s = 'unknown'
    -- A line for every look would fill the timeline, so only a changed reason gets one.
    if row.r ~= r.reason then note(id, now, 'unknown', rest) end
  end,
  unresolved = function(id, row, r, rest)
    if row.s == 'unresolved' then return end
    leave(id, row)
    redis.call('ZADD', K.unresolved, int(now), id)
    redis.call('HSET', K.row(id), 's', 'unresolved', 'r', r.reason)
    row.s = 'unresolved'
    count('unresolved')
    note(id, now, 'unresolved', rest)
  end,
}

return once(ARGV[1], HOUR, function()
  local answers = {}
  for at = 2, #ARGV, 2 do
    local r = cjson.decode(ARGV[at])
    local row = load(r.id)
    local open = row and row.n == r.n and (row.s == 'unknown' or row.s == 'unresolved')
    if open then KINDS[r.kind](r.id, row, r, ARGV[at + 1]) end
    answers[#answers + 1] = open and row.s or ''
  end
  return answers
end)
