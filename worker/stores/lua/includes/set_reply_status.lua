-- include: int

-- Records the status that a reply gave. A report of lower rank never moves it back. One of the
-- same rank still counts, because of its code and effects.
local function set_reply_status(id, row, status, rank)
  row[F.status_rank] = rank and rank - 1 or -1
  redis.call('HSET', K.row(id), F.status, status, F.status_rank, int(row[F.status_rank]))
end
