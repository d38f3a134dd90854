-- Returns the latest date of a person's grants (`granted`), or of the withdrawals, on an account.
local function last_word(digest, account, granted)
  local latest = 0
  local function hear(when)
    local date = tonumber(when)
    if date and date < C.NEVER_MS then latest = math.max(latest, date) end
  end
  local fields = redis.call('HGETALL', K.person(digest))
  for at = 1, #fields, 2 do
    local kind, of = string.match(fields[at], '^(' .. C.CONSENT_FIELD .. ')([^|]*)|')
    local value = fields[at + 1]
    if of == account and kind == F.grants then
      -- `0:<at>:` is a withdrawal that an older version wrote.
      for flag, when in string.gmatch(',' .. value, ',(%d):(%d+):') do
        if (flag == '1') == granted then hear(when) end
      end
    elseif of == account and (kind == F.started) == granted then
      hear(value)
    end
  end
  return latest
end
