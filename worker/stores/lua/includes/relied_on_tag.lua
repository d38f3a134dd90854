-- Whether an attempt relied on the tag. The form of an attempt is g (freeform that relies on the
-- tag), f (freeform), t (template), or x (never recorded: see `sweep.lua`).
-- Only a report on an attempt that relied on the tag says anything about the Page.
local function relied_on_tag(row, n)
  local attempt = row.attempts[n]
  return attempt ~= nil and attempt.form == 'g'
end
