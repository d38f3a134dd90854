-- include: int, read_instant

-- Returns revision, state, until and reason of a sender, account or template. A pause that is over
-- is left out.
-- The reply also has fields that Redis does not send to the caller: `service` and `account` of a
-- sender, `pace` of a sender or an account, `posts`, how many POSTs an account may have open,
-- `known_at`, when a living process last knew it, and of an account `breaker_ends_at` and `probe`
-- of its breaker, both nil while it is closed.
local function read_state(key, now)
  local revision, state, ends_at, reason, service, account, known_at, pace, posts, breaker_ends_at,
    probe = unpack(redis.call('HMGET', key, F.revision, F.state, F.state_until, F.state_reason,
      F.service, F.account, F.known_at, F.pace, F.open_posts, F.breaker_ends_at, F.breaker_probe))
  local ends = read_instant(ends_at or '0')
  if not ends then
    -- An end that this version cannot read lies in the future.
    ends_at = int(now + C.HOUR_MS)
  elseif ends > 0 and ends <= now then
    state, ends_at, reason = '', '', ''
  end
  return {
    revision or '0', state or '', ends_at or '', reason or '',
    service = service, account = account, known_at = known_at, pace = pace, posts = posts,
    breaker_ends_at = breaker_ends_at and (tonumber(breaker_ends_at) or 0) or nil,
    probe = probe or nil,
  }
end
