-- Appends to a person's consent ledger and unites its projection with the entry. Safe to repeat:
-- the line carries its request id.
-- ARGV: person (its digests), request id, at (ms or ''), granted ('1' or '0'), account, purpose
-- ('*': all), sender ('*': every), expires (ms or ''), line (JSON object without `at` and
-- `request`), after stop ('1': a grant may outrank an earlier withdrawal).
-- Returns 'recorded', or 'opted_out' if it wrote nothing.
-- Keys: meta, person, consents, sender; when the digests are gathered, sent_to, suspected_stops and
-- counts.
-- Callers: `PeopleStore.record_consent`, for the operator's commands.
local RECENT = 8
local now = clock()
local person, request = gathered(ARGV[1]), ARGV[2]
local granted, account, purpose, sender, expires = ARGV[4] == '1', ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local said_at = tonumber(ARGV[3])
-- No person speaks in the future. A later date comes from a clock that runs ahead, or from this
-- clock before it was set back.
local at = said_at and math.floor(math.min(said_at, now)) or heard_now(person, account, granted, now)
for _, line in ipairs(redis.call('LRANGE', K.consents(person), -RECENT, -1)) do
  local before = decoded(line)
  if before and before.request == request then return 'recorded' end
end

local key = K.person(person)

-- Returns the date of the latest grant of a `c:` field that has not lapsed; -1 when there is none.
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
  local service = stop_scope(sender)
  for name, value in pairs(fields) do
    local kind, of, what, where = string.match(name, '^([cd]):([^|]*)|(.-)|(.*)$')
    local when = tonumber(kind == 'c' and string.match(',' .. value, ',0:(%d+):') or value) or -1
    if kind and of == account and what == purpose and when < at and (sender == '*' or where == '*' or where == sender) then
      of_purpose = math.max(of_purpose, when)
    end
    local owner, scope = withdrawal_of(name)
    if owner == account and when < at and (sender == '*' or scope == '*' or scope == sender or scope == service) then
      if not is_undone(name, fields, stop_scope(scope)) then of_all = math.max(of_all, when) end
    end
  end
  return of_all, of_purpose
end

-- Whether this grant would bring back what a withdrawal in force forbids. A withdrawal that an
-- earlier grant undid does not count.
local function outranks_withdrawal()
  local fields = by_name(key)
  local of_all, of_purpose = outranked(fields)
  local undone_by_any, undone_by_name = -1, -1
  for _, where in ipairs({ '*', sender }) do
    local scope = '|' .. where
    local named = latest_valid(fields['c:' .. account .. '|' .. purpose .. scope])
    undone_by_name = math.max(undone_by_name, named)
    undone_by_any = math.max(undone_by_any, named, latest_valid(fields['c:' .. account .. '|*' .. scope]))
  end
  return of_all >= 0 and undone_by_any <= of_all or of_purpose >= 0 and undone_by_name <= of_purpose
end

if granted and ARGV[10] ~= '1' and outranks_withdrawal() then return 'opted_out' end
local line = cjson.decode(ARGV[9])
line.at, line.request = at, request
ledger(person, line)
local scope = account .. '|' .. purpose .. '|' .. sender
if granted then
  unite(key, 'c:' .. scope, '1:' .. int(at) .. ':' .. expires)
elseif purpose == '*' then
  unite(key, 'o:' .. account .. '|' .. sender, int(at))
else
  unite(key, 'd:' .. scope, int(at))
end
return 'recorded'
