-- How far due times, leases and searches run ahead of the store's clock (ms). It is 0 unless that
-- clock was once set back. Then the lead makes sure that what was due stays due, and that no
-- message waits longer than it was meant to.
local lead = 0

-- Returns the store's clock in milliseconds. The fraction (microseconds) keeps first come, first
-- served inside one millisecond.
-- Only a sandbox store has an offset: the script that writes `offset_ms` checks the profile.
-- Every script calls this before it writes, so this is the place to refuse a store with another
-- layout.
local function clock()
  local time = redis.call('TIME')
  local kept = redis.call('HMGET', K.meta, 'offset_ms', 'schema', 'lead_ms')
  if kept[2] and kept[2] ~= tostring(C.SCHEMA) then
    error(redis.error_reply('SCHEMA this release knows the layout ' .. C.SCHEMA .. ' only'))
  end
  lead = tonumber(kept[3] or '0') or 0
  return time[1] * 1000 + time[2] / 1000 + (tonumber(kept[1] or '0') or 0)
end
