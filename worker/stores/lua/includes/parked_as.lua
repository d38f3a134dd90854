-- Returns the member of `K.parked` that stands for a sender, an account or a campaign.
local function parked_as(kind, name)
  return kind .. '|' .. name
end
