-- include: int, raise_revision, read_grants

-- Consent is a ledger of what a person granted and withdrew, and a projection of it that decisions
-- read. Every change raises the person's revision, so that no decision made before it is admitted
-- after it.
-- The projection is kept in fields of the person's hash. Each field only ever rises, so neither the
-- order nor the number of writes matters:
--   F.opted_out <account>|<scope>             latest withdrawal of everything. Scope: C.ANY, a
--                                             sender, or a messaging service
--   F.opted_out <account>|<sender>|<service>  the same, where Twilio refused the sender as a member
--                                             of its messaging service
--   F.started <account>|<scope>               latest START: it undoes earlier withdrawals of
--                                             everything at this scope
--   F.started <account>|<sender>|<service>    latest START for a sender that Twilio refused in this
--                                             service and that was still in it
--   F.purpose_withdrawn <account>|<purpose>|<sender>
--                                             latest withdrawal of one purpose. Sender C.ANY: every
--                                             sender
--   F.grants <account>|<purpose>|<sender>     grants, each `1:<at>:<expires or nothing>`, separated
--                                             by commas. Purpose C.ANY: all. A grant is left out
--                                             when another one is not earlier and does not end
--                                             sooner. Older versions wrote `0:<at>:` for a
--                                             withdrawal of the purpose.
-- Dates are the instants at which the person spoke (ms). At equal instants a withdrawal outranks a
-- grant and a START.

-- Returns the grants that no other grant makes superfluous, ordered from the latest to the
-- earliest, and so from the one that ends first to the one that ends last. When there are too
-- many, the earliest are dropped.
local function needed_grants(grants)
  table.sort(grants, function(one, other)
    if one.at ~= other.at then return one.at > other.at end
    return one.ends > other.ends
  end)
  local front, latest_end = {}, -1
  for _, grant in ipairs(grants) do
    if grant.ends > latest_end and #front < C.MAX_GRANTS then
      front[#front + 1] = grant
      latest_end = grant.ends
    end
  end
  return front
end

local function write_grants(grants, unread)
  local parts = {}
  for _, grant in ipairs(needed_grants(grants)) do
    local ends = grant.ends == math.huge and '' or int(grant.ends)
    parts[#parts + 1] = '1:' .. int(grant.at) .. ':' .. ends
  end
  for _, part in ipairs(unread) do parts[#parts + 1] = part end
  return table.concat(parts, ',')
end

-- Returns what a `c:` field holds once it is united with another value of the same name.
local function united_grants(value, more)
  local grants, unread = read_grants(value)
  local others, unread_too = read_grants(more)
  for _, grant in ipairs(others) do grants[#grants + 1] = grant end
  local known = {}
  for _, part in ipairs(unread) do known[part] = true end
  for _, part in ipairs(unread_too) do
    if not known[part] then unread[#unread + 1] = part end
  end
  return write_grants(grants, unread)
end

-- Returns what a consent field holds once its value is united with another one: the later of two
-- dates, or the grants that `needed_grants` leaves.
-- A date that this version cannot read stays, and it permits nothing.
local function united(name, before, value)
  if string.sub(name, 1, #F.grants) == F.grants then return united_grants(before, value) end
  if not before then return value end
  local known, date = tonumber(before), tonumber(value)
  if not known or (date and date <= known) then return before end
  return value
end

-- Unites a field of the projection with a value. Returns whether that changed the field.
local function unite_consent(key, name, value)
  local before = redis.call('HGET', key, name)
  local after = united(name, before, value)
  if after == before then return false end
  redis.call('HSET', key, name, after)
  raise_revision(key)
  return true
end
