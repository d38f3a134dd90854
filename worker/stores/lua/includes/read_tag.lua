-- include: read_instant

-- Returns revision and state of the tag of a Page, and '1' while a message other than this one is
-- on its way that relies on the unproven tag.
local function read_tag(sender, id, now)
  local revision, state, message, ends = unpack(redis.call('HMGET', K.tag_state(sender),
    F.revision, F.state, F.tag_message, F.state_until))
  local is_other = message and message ~= id
  local is_in_flight = is_other and (read_instant(ends or '0') or math.huge) > now
  return { revision or '0', state or '', is_in_flight and '1' or '' }
end
