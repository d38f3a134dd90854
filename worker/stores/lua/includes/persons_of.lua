-- include: spellings

-- Two hexadecimal digits → the byte. It is filled as needed, because a batch has many digests.
local BYTES = setmetatable({}, {
  __index = function(bytes, pair)
    bytes[pair] = string.char(tonumber(pair, 16))
    return bytes[pair]
  end,
})

-- Returns the first 32 hexadecimal digits of HMAC-SHA1. `inner` and `outer` are the padded blocks
-- of the key. `PersonDigests` in Python computes the same.
local function digest_of(address, inner, outer)
  local inside = string.gsub(redis.sha1hex(inner .. address), '..', BYTES)
  return string.sub(redis.sha1hex(outer .. inside), 1, C.DIGEST_CHARACTERS)
end

-- Returns the digests under which a person's records may be kept, separated by spaces, the
-- canonical one first.
local function persons_of(address, inner, outer)
  local digests = spellings_of(address)
  for at, spelling in ipairs(digests) do digests[at] = digest_of(spelling, inner, outer) end
  return table.concat(digests, ' ')
end
