-- include: count

local MAX_HELD_EFFECTS = 10000

-- Holds an effect, with everything that it takes to apply it later under its own date. Reported
-- again, it is held once.
local function hold_effect(effect, who, now)
  local key = K.held(who.sender)
  if redis.call('LLEN', key) >= MAX_HELD_EFFECTS then
    count('effects_dropped')
    return
  end
  redis.call('RPUSH', key, cjson.encode({
    at = math.floor(now),
    effect = effect,
    digest = who.digest,
    sender = who.sender,
    account = who.account,
    intent = math.floor(who.intent or now),
    id = who.id,
    attempt = who.attempt,
    sent = who.sent,
  }))
  count('effects_held')
end
