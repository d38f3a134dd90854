-- Whether a message may be decided again after a closed window (63016). It may once, unless the
-- attempt went out as a template, which needs no window.
-- Both the reply to the POST and a report after acceptance ask here.
-- A failed primary may have lost the attempt's line. Then only the reply says what went out
-- (`settled`: its settlement).
local function may_redecide(row, n, settled)
  if row[F.redecided] then return false end
  local attempt = row.attempts[n]
  if attempt then return attempt.form ~= 't' end
  return settled ~= nil and (settled.template or '') == ''
end
