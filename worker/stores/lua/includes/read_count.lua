-- include: read_instant

-- Reads a stored count of what happened to a message; nil where this version cannot read it. No
-- message has more attempts than C.MAX_COUNT.
local function read_count(text)
  local number = read_instant(text)
  return number and number <= C.MAX_COUNT and number or nil
end
