-- include: try_decode

-- Sources that persons and providers can repeat without limit. A ledger that is too long drops
-- their lines before those that an operator or a backend recorded.
local HEARD = { inbound = true, provider = true }

-- The projection does not need the lines, so a shortened ledger permits and forbids the same as
-- before.
local function shorten_ledger(key)
  local lines = redis.call('LRANGE', key, 0, -1)
  local surplus = #lines - C.KEPT_LEDGER_LINES
  local kept = {}
  for _, text in ipairs(lines) do
    local line = try_decode(text)
    if surplus > 0 and line and HEARD[line.source] then
      surplus = surplus - 1
    else
      kept[#kept + 1] = text
    end
  end
  redis.call('DEL', key)
  redis.call('RPUSH', key, unpack(kept, math.max(1, #kept - C.MAX_LEDGER_LINES + 1)))
end

-- Appends a line to a person's consent ledger.
local function append_to_ledger(digest, line)
  local key = K.consents(digest)
  if redis.call('RPUSH', key, cjson.encode(line)) > C.MAX_LEDGER_LINES then shorten_ledger(key) end
end
