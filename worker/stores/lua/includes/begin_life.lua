-- include: int, read_count

-- Begins another life of a message that had ended, because of an operator or a reported failure.
local function begin_life(id, row)
  local key = K.row(id)
  redis.call('PERSIST', key)
  redis.call('PERSIST', K.timeline(id))
  redis.call('PERSIST', K.job(id))
  redis.call('HSET', key, F.life, int((read_count(row[F.life]) or 1) + 1))
end
