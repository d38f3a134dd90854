-- include: add_to_timeline, count

-- Counts a second SID of the message: the person got it twice.
local function count_copy(id, row, attempt, sid, now)
  count('duplicates')
  row.is_copied = true
  add_to_timeline(id, now, 'duplicate', { n = attempt, sid = sid })
end
