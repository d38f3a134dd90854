-- include: delete_records, first_digest, follow_pointers, merge_records, other_digests
-- include: unmoved_digests

-- Names of records that exist only while `view_person` runs.
local COPY, SCRATCH = 'copy', 'scratch'

-- Returns what `look` returns for the whole person, and the digest of the canonical record. Moves
-- nothing.
local function view_person(names, look)
  local root = follow_pointers(first_digest(names))
  local others = has_others(names) and unmoved_digests(names, root) or {}
  if #others == 0 then return look(root), root end
  table.insert(others, 1, root)
  for _, digest in ipairs(others) do
    for _, key in ipairs({ K.person, K.consents, K.sent_to }) do
      redis.call('COPY', key(digest), key(COPY), 'REPLACE')
    end
    merge_records(COPY, SCRATCH)
    delete_records(COPY)
  end
  local answer = look(SCRATCH)
  delete_records(SCRATCH)
  return answer, root
end
