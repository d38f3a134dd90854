-- include: follow_pointers, other_digests

-- Returns the digests whose records are not under `root` yet. An older worker may have written to
-- a digest after it became a pointer.
local function unmoved_digests(names, root)
  local found = {}
  for digest in other_digests(names) do
    local there = follow_pointers(digest)
    local fields = redis.call('HLEN', K.person(digest))
    if there ~= root and (there ~= digest or fields > 0) then found[#found + 1] = there end
    if there ~= digest and fields > C.POINTER_FIELDS then found[#found + 1] = digest end
  end
  return found
end
