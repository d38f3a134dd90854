-- include: attempt_key, count_copy, has_other_sid, is_known_sid, try_decode

-- Binds a SID to its attempt, and counts it if it is the message's second. Returns whether it is
-- the second, and the report that came before the SID was known to be this message's.
local function bind_sid(id, row, attempt, sid, now)
  local before = redis.call('GET', K.sid(sid))
  if is_known_sid(id, row, attempt, sid, before) then return false end
  local is_copy = has_other_sid(row, sid)
  if is_copy then count_copy(id, row, attempt, sid, now) end
  -- The attempt is proven, so it no longer rivals other attempts. The permit of a POST that is
  -- under way stays until its reply is in.
  local is_under_way = row[F.stage] == C.POSTING and attempt == row[F.attempt]
  if row[F.person] and not is_under_way then
    redis.call('ZREM', K.permits(row[F.person]), attempt_key(id, attempt))
  end
  if before and string.sub(before, 1, 1) ~= '?' then return is_copy end
  redis.call('SET', K.sid(sid), attempt_key(id, attempt), 'PX', C.KEEP_ENDED_MS)
  return is_copy, before and try_decode(string.sub(before, 2))
end
