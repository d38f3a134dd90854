-- include: add_to_timeline, try_decode

-- Records the end of a round: an attempt that led to nothing and is tried again. If the previous
-- round ended for the same reason, the two become one line that counts them, and the intent of this
-- round is removed.
local function add_round_to_timeline(id, now, stage, entry)
  local key = K.timeline(id)
  local before, intent = unpack(redis.call('LRANGE', key, -2, -1))
  -- Decoded only if it may be a round, because an entry has its whole decision.
  local may_be_round = intent and string.find(intent, '"e":"intent"', 1, true)
    and string.find(before, '"e":"' .. stage .. '"', 1, true)
  local last = may_be_round and try_decode(before)
  if not last or last.reason ~= entry.reason or last.code ~= entry.code then
    return add_to_timeline(id, now, stage, entry)
  end
  local at = last.at
  last.at, last.e = nil, nil
  if last.trace and not next(last.trace) then last.trace = nil end
  last.times, last['until'] = (last.times or 1) + 1, math.floor(now)
  redis.call('RPOP', key)
  redis.call('LSET', key, -1, timeline_line(at, stage, last))
end
