-- The spellings of an address: the same as `policies.spellings`, from the same data.
-- Only scripts that read addresses include this. The others get the digests of every spelling as an
-- argument.
local OPTIONAL_DIGITS = C.OPTIONAL_DIGITS

-- Whether a rule applies before this digit, in a number of this length.
local function fits(rule, next_digit, length)
  return next_digit ~= '' and (rule.length == 0 or rule.length == length)
    and string.find(rule.followed_by, next_digit, 1, true)
end

-- Returns both forms of the number after the country code, the canonical one first; nil when it has
-- one form.
local function forms_of(rule, national)
  local head, tail = string.sub(national, 1, rule.position), string.sub(national, rule.position + 1)
  local with, without
  if string.sub(tail, 1, 1) == rule.digit and fits(rule, string.sub(tail, 2, 2), #national - 1) then
    with, without = national, head .. string.sub(tail, 2)
  elseif fits(rule, string.sub(tail, 1, 1), #national) then
    with, without = head .. rule.digit .. tail, national
  else
    return nil
  end
  if rule.is_with then return with, without end
  return without, with
end

-- Returns the rules for a country code.
local function rules_of(code)
  local rules = { country = code }
  for _, rule in ipairs(OPTIONAL_DIGITS) do
    if string.find(rule.countries, ' ' .. code .. ' ', 1, true) then rules[#rules + 1] = rule end
  end
  return rules
end

-- First three digits of a number → the entries for its country, false when there are none. It is
-- filled as needed, because a batch has few countries.
local RULES = setmetatable({}, {
  __index = function(found, start)
    found[start] = false
    for length = 1, 3 do
      local rules = rules_of(string.sub(start, 1, length))
      if rules[1] then
        found[start] = rules
        break
      end
    end
    return found[start]
  end,
})

-- Returns every address that names the same person, the canonical one first.
local function spellings_of(address)
  local prefix, number = string.match(address, '^([a-z]*:?)%+([1-9]%d+)$')
  if prefix == 'rcs:' then prefix = '' end
  local is_phone = number and #number <= C.MAX_NUMBER_DIGITS
  if not is_phone or (prefix ~= '' and prefix ~= 'whatsapp:') then return { address } end
  local rules = RULES[string.sub(number, 1, 3)]
  if not rules then return { prefix .. '+' .. number } end
  local country = rules.country
  local canonical = string.sub(number, #country + 1)
  for _, rule in ipairs(rules) do canonical = forms_of(rule, canonical) or canonical end
  local nationals = { canonical }
  for at = #rules, 1, -1 do
    local wider = {}
    for _, national in ipairs(nationals) do
      local one, other = forms_of(rules[at], national)
      wider[#wider + 1] = one or national
      wider[#wider + 1] = other
    end
    nationals = wider
  end
  local found = {}
  for _, national in ipairs(nationals) do
    if #country + #national <= C.MAX_NUMBER_DIGITS then
      found[#found + 1] = prefix .. '+' .. country .. national
    end
  end
  return found
end
