-- Appends to a person's consent ledger and unites its projection with the entry. Safe to repeat:
-- the line carries its request id.
-- ARGV: a JSON object: person (its digests), request (its id), at (ms, absent: now), granted,
-- account, purpose (C.ANY: all), sender (C.ANY: every), expires_at (ms, absent: never), line (an
-- object without `at` and `request`), after_stop (a grant may outrank an earlier withdrawal).
-- Returns 'recorded', or 'opted_out' if it wrote nothing.
-- Keys: meta, person, consents, sender; when the digests are gathered, sent_to, suspected_stops and
-- counts.
-- Callers: `PeopleStore.record_consent`, for the operator's commands.

-- include: append_to_ledger, clock, gathered, heard_now, int, is_undone, read_grants, read_hash
-- include: stop_scope, try_decode, unite_consent, withdrawal_of

-- How many lines are searched for an earlier call with the same request id.
local MAX_RECENT_LINES = 8
local now = clock()
local asked = cjson.decode(ARGV[1])
local person = gathered(asked.person)
local granted, account, purpose, sender = asked.granted, asked.account, asked.purpose, asked.sender
-- No person speaks in the future. A later date comes from a clock that runs ahead, or from this
-- clock before it was set back.
local at = asked.at and math.floor(math.min(asked.at, now))
  or heard_now(person, account, granted, now)
for _, text in ipairs(redis.call('LRANGE', K.consents(person), -MAX_RECENT_LINES, -1)) do
  local line = try_decode(text)
  if line and line.request == asked.request then return 'recorded' end
end

local key = K.person(person)

-- Returns the date of the latest grant of a field `F.grants` that has not lapsed; -1 when there is
-- none.
local function latest_valid(value)
  local latest = -1
  for _, grant in ipairs(read_grants(value)) do
    if now < grant.ends then latest = math.max(latest, grant.at) end
  end
  return latest
end

-- Returns the dates of the latest withdrawals that this grant would outrank: of everything, and of
-- its purpose. Withdrawals that a START undid do not count.
local function outranked(fields)
  local of_all, of_purpose = -1, -1
  local service, is_everywhere = stop_scope(sender), sender == C.ANY
  for name, value in pairs(fields) do
    local kind, of, what, where = string.match(name, '^([cd]:)([^|]*)|(.-)|(.*)$')
    -- Older versions wrote a withdrawal of the purpose among the grants.
    local older = kind == F.grants and string.match(',' .. value, ',0:(%d+):')
    local when = tonumber(older or value) or -1
    local is_of_purpose = kind and of == account and what == purpose
    if is_of_purpose and when < at and (is_everywhere or where == C.ANY or where == sender) then
      of_purpose = math.max(of_purpose, when)
    end
    local owner, scope = withdrawal_of(name)
    local is_near = is_everywhere or scope == C.ANY or scope == sender or scope == service
    if owner == account and when < at and is_near then
      if not is_undone(name, fields, stop_scope(scope)) then of_all = math.max(of_all, when) end
    end
  end
  return of_all, of_purpose
end

-- Whether this grant would bring back what a withdrawal in force forbids. A withdrawal that an
-- earlier grant undid does not count.
local function outranks_withdrawal()
  local fields = read_hash(key)
  local of_all, of_purpose = outranked(fields)
  local undone_by_any, undone_by_name = -1, -1
  for _, where in ipairs({ C.ANY, sender }) do
    local scope = '|' .. where
    local named = latest_valid(fields[F.grants .. account .. '|' .. purpose .. scope])
    local of_all_purposes = latest_valid(fields[F.grants .. account .. '|' .. C.ANY .. scope])
    undone_by_name = math.max(undone_by_name, named)
    undone_by_any = math.max(undone_by_any, named, of_all_purposes)
  end
  return of_all >= 0 and undone_by_any <= of_all
    or of_purpose >= 0 and undone_by_name <= of_purpose
end

if granted and not asked.after_stop and outranks_withdrawal() then return 'opted_out' end
local line = asked.line
line.at, line.request = at, asked.request
append_to_ledger(person, line)
local scope = account .. '|' .. purpose .. '|' .. sender
if granted then
  local ends = asked.expires_at and int(asked.expires_at) or ''
  unite_consent(key, F.grants .. scope, '1:' .. int(at) .. ':' .. ends)
elseif purpose == C.ANY then
  unite_consent(key, F.opted_out .. account .. '|' .. sender, int(at))
else
  unite_consent(key, F.purpose_withdrawn .. scope, int(at))
end
return 'recorded'
