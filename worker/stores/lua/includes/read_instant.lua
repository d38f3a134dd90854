-- Reads a stored instant (ms); nil where this version cannot read it. The readers in
-- `worker/stores/fact_parsing.py` accept the same texts.
local function read_instant(text)
  return text and #text < C.MAX_DIGITS and string.match(text, '^%d+$') and tonumber(text) or nil
end
