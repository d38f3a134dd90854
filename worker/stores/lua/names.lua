-- Remembers by which name an account and a sender are known, for good: what people said is kept under these names.
-- ARGV: pairs of a field of K.names and what it should say. Answers for each what the store says; nothing is written when one differs.
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
