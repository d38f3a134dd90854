-- Reads the end of a message's life (ms); nil where this version cannot read it. It accepts absurd
-- instants too, because they lose nothing.
local function read_expiry(text)
  return text and string.match(text, '^%-?%d+$') and tonumber(text) or nil
end
