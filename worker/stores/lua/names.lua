-- Records the names of an account and a sender, without a term, because what persons said is kept
-- under these names.
-- ARGV: pairs of a field of `K.names` and its value.
-- Returns for each the value in the store. Nothing is written when any value differs.
-- Keys: names.
-- Callers: `NameStore.remember`, when a worker or a gateway starts.

local says = {}
local differs = false
for at = 1, #ARGV, 2 do
  local known = redis.call('HGET', K.names, ARGV[at]) or ARGV[at + 1]
  differs = differs or known ~= ARGV[at + 1]
  says[#says + 1] = known
end
if not differs then
  for at = 1, #ARGV, 2 do redis.call('HSETNX', K.names, ARGV[at], ARGV[at + 1]) end
end
return says
