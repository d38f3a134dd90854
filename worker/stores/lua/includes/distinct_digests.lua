-- Returns every digest in a text and in `aliases` once. `aliases` is the field
-- `F.other_digests`, which the caller has read together with other fields.
local function distinct_digests(names, aliases)
  local found, seen = {}, {}
  for digest in string.gmatch(names .. ' ' .. (aliases or ''), '%S+') do
    if not seen[digest] then found[#found + 1] = digest end
    seen[digest] = true
  end
  return found
end
