-- include: read_instant

-- Whether what a stored instant forbids lasts until `at` or longer. A text that this version cannot
-- read counts as such: only a newer version, or an operator, ends it.
local function outlasts(text, at)
  return text and text ~= '' and (read_instant(text) or math.huge) >= at
end
