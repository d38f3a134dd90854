-- Takes over jobs of plain arq producers: queues them as `enqueue.lua` does, whose text is the
-- function `enqueue`, and removes arq's entries.
-- Safe to repeat: a message that exists is a duplicate, and its entry goes.
-- ARGV: for each job its id, then the ten arguments of `enqueue.lua`.
-- Returns for each the word that `enqueue.lua` returns. The entry of a 'conflict' stays.
-- Nothing is refused because a queue is full: arq's producer cannot be told.
-- Keys: those of `enqueue.lua`, and ingress.
-- Callers: `ArqIngressStore.adopt`, for the dispatcher and the command for a restored store.

-- include: remove_arq_entry

-- include script: enqueue

-- arq's job id, which comes before the arguments of `enqueue.lua`.
local OWN_ARGUMENTS = 1
local MESSAGE_ARGUMENTS = 10 + OWN_ARGUMENTS
local jobs = { '0' }
for at = 1, #ARGV, MESSAGE_ARGUMENTS do
  for index = at + OWN_ARGUMENTS, at + MESSAGE_ARGUMENTS - 1 do jobs[#jobs + 1] = ARGV[index] end
end
local words = {}
for index, reply in ipairs(enqueue(jobs)) do
  local at = (index - 1) * MESSAGE_ARGUMENTS + 1
  words[index] = reply[1]
  if reply[1] ~= 'conflict' then remove_arq_entry(ARGV[at], ARGV[at + OWN_ARGUMENTS], true) end
end
return words
