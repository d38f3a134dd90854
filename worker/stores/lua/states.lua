-- What was said of senders, accounts, templates (by ContentSid) and tags; writes nothing. ARGV: kind and name of each, kinds as in switches.lua.
-- Answers revision, state, until and reason of each.
local now = clock()
local answers = {}
for at = 1, #ARGV, 2 do
  answers[#answers + 1] = stored(K[ARGV[at]](ARGV[at + 1]), now)
end
return answers
