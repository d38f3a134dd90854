-- include: add_to_timeline, mark_of_cancel, put_into_lane

-- Puts the messages that wait for a person at a sender back into their lanes, to be decided again.
-- A message that was asked to be cancelled stays: it is never decided again. Returns how many.
local function release_waiting_at(person, sender, now)
  local key = K.waiting(person, sender)
  local released = 0
  for _, id in ipairs(redis.call('SMEMBERS', key)) do
    local got = redis.call('HMGET', K.row(id), F.stage, F.lane, F.cancel_asked,
      F.enqueued_at)
    if got[1] == C.WAITING and not mark_of_cancel(got[3], got[2], got[4]) then
      -- The reason of the wait goes too: if the message waits again for the same reason, that is a
      -- new decision.
      redis.call('HDEL', K.row(id), F.awaited, F.reason)
      add_to_timeline(id, now, 'released')
      put_into_lane(got[2], id, now, now)
      released = released + 1
    end
  end
  redis.call('DEL', key)
  return released
end

-- Puts the messages that wait for a person, under any of these digests, back into their lanes.
-- A message waits under the digest that its own claim knew, so each digest is released.
local function release_waiting(digests, sender, now)
  local released = 0
  for _, digest in ipairs(digests) do
    released = released + release_waiting_at(digest, sender, now)
  end
  return released
end
