-- include: campaign_of, lane_rings

-- The breaker of an account, as a claim sees it. A table, because Lua allows few local variables.
local breaker = {}

-- Returns until when (ms) the breaker of an account keeps every message back. 0: it is closed, or
-- half open, so that one message may try.
-- `state`: see `read_state`. After the store's clock was set back, no try lasts longer than it may.
function breaker.ends(state, now)
  local ends = state.breaker_ends_at or 0
  if ends == C.NEVER_MS or ends > now and ends <= now + C.PROBE_MS then return ends end
  return 0
end

-- Whether the breaker of an account lets one message try.
function breaker.is_half_open(state, now)
  return state.breaker_ends_at ~= nil and breaker.ends(state, now) == 0
end

-- Returns the due messages at the heads of the lanes of an account, the most urgent first. A paused
-- campaign may still be in a ring, because its turn did not come since.
-- `due`: up to which due time. `may_send(sender)`: whether a sender may send now.
function breaker.due_messages(account, due, may_send)
  local max_looked_at, found = 4, {}
  for _, class in ipairs(C.CLASSES) do
    local senders = redis.call('ZRANGE', K.ring(senders_of(class, account)), 0, max_looked_at - 1)
    for _, sender in ipairs(senders) do
      local lanes = {}
      if may_send(sender) then
        lanes = redis.call('ZRANGE', K.ring(lanes_of(class, sender)), 0, max_looked_at - 1)
      end
      for _, lane in ipairs(lanes) do
        local head, heads = { K.lane(lane), '-inf', due, 'LIMIT', 0, max_looked_at }, {}
        if not is_parked('campaign', campaign_of(lane)) then
          heads = redis.call('ZRANGEBYSCORE', unpack(head))
        end
        for _, id in ipairs(heads) do found[#found + 1] = id end
      end
    end
  end
  return found
end

-- Returns the message that tries while the breaker is half open: the most urgent one that may be
-- sent again if its outcome is unknown, else the most urgent one; and its row.
-- `read(id)`: returns the row of a message that may be claimed.
function breaker.find_probe(account, due, may_send, read)
  local risky, row_of_risky
  for _, id in ipairs(breaker.due_messages(account, due, may_send)) do
    local row = read(id)
    local rule = row and redis.call('HGET', K.row(id), F.on_unknown)
    if row and rule ~= C.ON_UNKNOWN_NEVER and rule ~= C.ON_UNKNOWN_HOLD then return id, row end
    if row and not risky then risky, row_of_risky = id, row end
  end
  return risky, row_of_risky
end
