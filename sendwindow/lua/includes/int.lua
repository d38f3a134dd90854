-- Returns a number as a decimal string without exponent. `..` would round above 14 digits.
local function int(number)
  return string.format('%.0f', math.floor(number))
end
