-- include: attempt_line, free_tag, sender_of

-- Records that an attempt that relied on the tag is no longer on its way. The Page is free once
-- none of the message's attempts is.
local function free_tag_of_attempt(id, row, n)
  row.attempts[n].form = 'f'
  write_attempt(id, row, n, row.attempts[n])
  for _, attempt in pairs(row.attempts) do
    if attempt.form == 'g' then return end
  end
  free_tag(sender_of(row[F.lane]), id)
end
