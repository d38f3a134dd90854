-- Iterates over all digests in a text of digests but the first.
local function other_digests(names)
  return string.gmatch(string.sub(names, C.DIGEST_CHARACTERS + 2), '%x+')
end

-- Whether anything is kept under a digest other than the first.
local function has_others(names)
  if #names <= C.DIGEST_CHARACTERS then return false end
  local keys = {}
  for digest in other_digests(names) do keys[#keys + 1] = K.person(digest) end
  return redis.call('EXISTS', unpack(keys)) > 0
end
