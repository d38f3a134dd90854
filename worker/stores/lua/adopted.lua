-- Removes arq's entries of jobs that were taken over, or that have no job. ARGV: for each job id, message id.
for at = 1, #ARGV, 2 do drop_entry(ARGV[at], ARGV[at + 1]) end
return 1
