-- include: first_digest, follow_pointers, move_records, other_digests, unmoved_digests

-- Moves a person's records under one digest and returns the text with that digest first. That
-- digest may be a pointer that a WaId left.
-- For an address with one spelling this costs nothing. While nothing was written under the other
-- digests it costs one EXISTS.
local function gather(names)
  if not has_others(names) then return names end
  local root = follow_pointers(first_digest(names))
  for _, digest in ipairs(unmoved_digests(names, root)) do move_records(digest, root) end
  return root .. string.sub(names, C.DIGEST_CHARACTERS + 1)
end
