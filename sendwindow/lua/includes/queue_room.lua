-- include: campaign_of, sender_of

-- What this call knows of the limits of senders and campaigns: sender → how many messages may still
-- be queued for it, and for one campaign of it; campaign → how many may still be queued for it.
local rooms = {}
local campaign_rooms = {}

-- Returns for how many more messages there is room. A limit that is missing or 0 is none.
local function left_of(limit, queued)
  limit = tonumber(limit or '') or 0
  return limit > 0 and limit - queued or math.huge
end

local function room_of_sender(sender)
  local room = rooms[sender]
  if room then return room end
  local whole, each = unpack(
    redis.call('HMGET', K.sender(sender), F.max_queued, F.max_queued_in_campaign))
  local left = left_of(whole, 0)
  if left < math.huge then left = left - (redis.call('HGET', K.queued, sender) or 0) end
  room = { left = left, each = each }
  rooms[sender] = room
  return room
end

-- A campaign has a lane in each class.
local function room_of_campaign(name, each)
  local room = campaign_rooms[name]
  if room then return room end
  local queued = 0
  if left_of(each, 0) < math.huge then
    local sender, campaign = string.match(name, '^(.-)|(.*)$')
    for _, class in ipairs(C.CLASSES) do
      queued = queued + redis.call('ZCARD', K.lane(sender .. '|' .. class .. '|' .. campaign))
    end
  end
  room = { left = left_of(each, queued) }
  campaign_rooms[name] = room
  return room
end

-- Takes the room for one more message in a lane. Returns nil, or which queue is full: 'sender_full'
-- or 'campaign_full'.
local function take_room(lane)
  local sender = sender_of(lane) or lane
  local room = room_of_sender(sender)
  if room.left < 1 then return 'sender_full' end
  local campaign = campaign_of(lane)
  if campaign then
    local own = room_of_campaign(campaign, room.each)
    if own.left < 1 then return 'campaign_full' end
    own.left = own.left - 1
  end
  room.left = room.left - 1
end
