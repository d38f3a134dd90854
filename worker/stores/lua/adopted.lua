-- Removes arq's entries of jobs that were taken over, or that have no job.
-- ARGV: for each job its id and its message id. Returns 1.
-- Keys: ingress, row, job, counts.
-- Callers: `ArqIngressStore.adopt`, for the dispatcher and the command for a restored store.

-- include: remove_arq_entry

for at = 1, #ARGV, 2 do remove_arq_entry(ARGV[at], ARGV[at + 1]) end
return 1
