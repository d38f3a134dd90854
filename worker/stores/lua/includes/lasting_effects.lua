-- Effects on a person or a Page, which are dated by the attempt's intent. Applied twice, or late,
-- they change nothing that came after.
-- A pause and the state of a template, in contrast, speak of the moment at which they are
-- reported.
local LASTING_EFFECTS = {
  close_window = true, opt_out = true, hold = true, withdraw = true, suppress = true, tag = true,
}
