-- include: in_a_lane, remove_from_lane

-- Takes a message out of the one place that it is in. `row` has at least stage, lane, crashes and
-- whom it waits for. `removed`: see `remove_from_lane`.
-- Its lane may stay in `ready` or `timers`: the next claim finds it empty and removes it.
local function remove_from_place(id, row, removed)
  local stage = row[F.stage]
  if stage == C.CLAIMED or stage == C.POSTING then
    redis.call('ZREM', K.leases, id)
  elseif stage == C.UNKNOWN then
    redis.call('ZREM', K.unknown, id)
  elseif stage == C.UNRESOLVED then
    redis.call('ZREM', K.unresolved, id)
  elseif IN_A_LANE[stage] then
    remove_from_lane(row[F.lane], id, removed)
    if row[F.crashes] then redis.call('ZREM', K.suspects, id) end
  end
  if row[F.awaited] then
    local digest, sender = string.match(row[F.awaited], '^(.-)|(.*)$')
    if digest then redis.call('SREM', K.waiting(digest, sender), id) end
    redis.call('HDEL', K.row(id), F.awaited)
    row[F.awaited] = nil
  end
end
