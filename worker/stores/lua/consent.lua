-- Appends to a person's consent ledger and moves its projection. Safe to repeat: the line carries its request id.
-- ARGV: person, request id, at (ms or ''), granted ('1' or '0'), account, purpose ('*': all), sender ('*': every), expires (ms or ''), line (JSON object without `at` and `request`),
-- after stop ('1': a grant may outrank an earlier withdrawal).
-- Answers 'recorded'; or 'opted_out', and nothing is written.
local RECENT = 8
local now = clock()
local person, request = resolve(ARGV[1]), ARGV[2]
local granted, account, purpose, sender, expires = ARGV[4] == '1', ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local said_at = tonumber(ARGV[3])
local at = said_at and math.floor(math.min(said_at, now)) or heard_now(person, account, granted, now)
for _, line in ipairs(redis.call('LRANGE', K.consents(person), -RECENT, -1)) do
  local before = decoded(line)
  if before and before.request == request then return 'recorded' end
end

local key = K.person(person)

-- What a field of the person says on this account: kind ('o' or 'c'), purpose, sender, granted, at, expires (ms or nil).
local function said(name, value)
  local kind, of, rest = string.match(name, '^([oc]):([^|]*)|(.*)$')
  if of ~= account then return nil end
  if kind == 'o' then return kind, '*', rest == stop_scope(sender) and sender or rest, false, tonumber(value) end
  local what, where = string.match(rest, '^(.-)|(.*)$')
  local yes, when, ends = string.match(value, '^(%d):(%d+):(%d*)$')
  return kind, what, where, yes == '1', tonumber(when), tonumber(ends)
end

-- Whether this grant would bring back what a withdrawal in force forbids. One that an earlier grant undid is past.
local function outranks_withdrawal()
  local fields = redis.call('HGETALL', key)
  local last, undone_to = { o = -1, c = -1 }, { o = -1, c = -1 }
  for at_field = 1, #fields, 2 do
    local kind, what, where, yes, when, ends = said(fields[at_field], fields[at_field + 1])
    local touches = where and (where == '*' or sender == '*' or where == sender)
    if touches and not yes and (kind == 'o' or what == purpose) and when < at then
      last[kind] = math.max(last[kind], when)
    elseif touches and yes and (where == '*' or where == sender) and (not ends or now < ends) then
      if what == purpose or what == '*' then undone_to.o = math.max(undone_to.o, when) end
      if what == purpose then undone_to.c = math.max(undone_to.c, when) end
    end
  end
  return last.o >= 0 and undone_to.o <= last.o or last.c >= 0 and undone_to.c <= last.c
end

if granted and ARGV[10] ~= '1' and outranks_withdrawal() then return 'opted_out' end
local line = cjson.decode(ARGV[9])
line.at, line.request = at, request

if purpose == '*' and not granted then
  -- A withdrawal that changes nothing is still a line of the ledger.
  if not opt_out(person, account, sender, at, line) then ledger(person, line) end
  return 'recorded'
end
ledger(person, line)
if purpose == '*' then opt_in(person, account, { sender, stop_scope(sender) }, at) end
local field = 'c:' .. account .. '|' .. purpose .. '|' .. sender
local before = redis.call('HGET', key, field)
local before_at = before and tonumber(string.match(before, '^%d:(%d+)')) or -1
if before_at <= at then
  redis.call('HSET', key, field, (granted and '1' or '0') .. ':' .. int(at) .. ':' .. expires)
  bump(key)
end
return 'recorded'
