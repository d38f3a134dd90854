-- Acts on unknown attempts by the rules of their messages.
-- ARGV: request id, then a JSON object for each: id, attempt, kind again|end|unknown|unresolved,
-- stage, reason, code, due (ms), delay (ms), look_after (ms), entry (of the timeline).
-- Returns for each the stage that it came to, '' when the attempt is no longer unknown. A message
-- that was asked to be cancelled ends instead of being sent again.
-- Keys: meta, answered, row, timeline, job, unknown, unresolved, lane, queued, ready, marks,
-- timers, expiring, expiries, wake, waiting, permits, dead, unreadable, tag_state, counts.
-- Callers: `UnknownStore.resolve`, for the unknown search and for the operator's commands.

-- include: add_to_timeline, answer_once, back_from_copy, clock, count, end_message
-- include: free_tag_of_attempt, int, load_row, relied_on_tag, remove_from_place, requeue
-- include: restored_mark

local now = clock()

local KINDS = {
  again = function(id, row, one)
    local mark = restored_mark(id, row)
    if mark and not mark.is_posted then
      redis.call('HDEL', K.row(id), F.searches)
      if not row[F.cancel_asked] then add_to_timeline(id, now, mark.stage, one.entry) end
      count('resolved:' .. (row[F.cancel_asked] and C.CANCELLED or one.reason))
      back_from_copy(id, row, mark, one.reason, now)
      return
    end
    -- Only a proven list or an operator can say that the attempt is not on its way. If the message
    -- is sent again without that, the Page stays taken until its term ends.
    local is_absent = one.reason == C.EVIDENCE_PERSON
      or (one.reason == C.RESENT_BY_RULE and row[F.on_unknown] == C.ON_UNKNOWN_RESEND_IF_ABSENT)
    if is_absent and relied_on_tag(row, row[F.attempt]) then
      free_tag_of_attempt(id, row, row[F.attempt])
    end
    redis.call('HDEL', K.row(id), F.searches)
    if not row[F.cancel_asked] then add_to_timeline(id, now, one.stage, one.entry) end
    count('resolved:' .. (row[F.cancel_asked] and C.CANCELLED or one.reason))
    requeue(id, row, one.stage, one.reason, one.due or now + one.delay, now)
  end,
  ['end'] = function(id, row, one)
    end_message(id, row, one.stage, one.reason, one.code and int(one.code), now, one.entry)
    count('resolved:' .. one.reason)
  end,
  unknown = function(id, row, one)
    remove_from_place(id, row)
    redis.call('ZADD', K.unknown, int(now + lead + one.look_after), id)
    redis.call('HSET', K.row(id), F.stage, C.UNKNOWN, F.reason, one.reason)
    row[F.stage] = C.UNKNOWN
    -- A line for every look would fill the timeline, so only a changed reason gets one.
    if row[F.reason] ~= one.reason then add_to_timeline(id, now, 'unknown', one.entry) end
  end,
  unresolved = function(id, row, one)
    if row[F.stage] == C.UNRESOLVED then return end
    remove_from_place(id, row)
    redis.call('ZADD', K.unresolved, int(now), id)
    redis.call('HSET', K.row(id), F.stage, C.UNRESOLVED, F.reason, one.reason)
    row[F.stage] = C.UNRESOLVED
    count('unresolved')
    add_to_timeline(id, now, 'unresolved', one.entry)
  end,
}

return answer_once(ARGV[1], C.HOUR_MS, function()
  local answers = {}
  for at = 2, #ARGV do
    local one = cjson.decode(ARGV[at])
    local row = load_row(one.id)
    local is_last = row and row[F.attempt] == one.attempt
    local is_open = is_last and (row[F.stage] == C.UNKNOWN or row[F.stage] == C.UNRESOLVED)
    if is_open then KINDS[one.kind](one.id, row, one) end
    answers[#answers + 1] = is_open and row[F.stage] or ''
  end
  return answers
end)
