-- Returns when a campaign was cancelled last (ms), nil when it was not. What was enqueued until
-- then is cancelled. A call asks about each campaign once.
local campaign_cancelled_at
do
  local cancels = {}
  local are_cancels
  function campaign_cancelled_at(campaign)
    if are_cancels == nil then are_cancels = redis.call('EXISTS', K.cancelled_campaigns) == 1 end
    if not are_cancels then return nil end
    if cancels[campaign] == nil then
      local score = redis.call('ZSCORE', K.cancelled_campaigns, campaign)
      cancels[campaign] = score and tonumber(score) or false
    end
    return cancels[campaign] or nil
  end
end
