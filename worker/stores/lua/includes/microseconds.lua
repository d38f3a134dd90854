-- Returns an instant of `clock` in whole microseconds, which limits count in.
local function microseconds(now)
  return math.floor(now * 1000 + 0.5)
end
