-- include: campaign_cancelled_at, campaign_of, read_instant

-- Returns the mark of a cancel of a message: its own, or '1' when it was enqueued before its
-- campaign was cancelled. nil: there is none.
local function mark_of_cancel(own, lane, enqueued_at)
  if own then return own end
  local campaign = lane and campaign_of(lane)
  local cancelled_at = campaign and campaign_cancelled_at(campaign)
  if cancelled_at and (read_instant(enqueued_at) or 0) <= cancelled_at then return '1' end
end
