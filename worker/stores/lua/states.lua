-- Returns revision, state, until and reason of senders, accounts, templates (by ContentSid) and
-- tags. Reads only.
-- ARGV: kind and name of each. The kinds are those of `switches.lua`.
-- Keys: meta, sender, account, template, tag_state.
-- Callers: `PauseStore.states`.

-- include: clock, key_of_kind, read_state

local now = clock()
local answers = {}
for at = 1, #ARGV, 2 do
  answers[#answers + 1] = read_state(KEY_OF_KIND[ARGV[at]](ARGV[at + 1]), now)
end
return answers
