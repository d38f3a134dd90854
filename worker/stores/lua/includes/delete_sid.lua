-- Deletes the line of a SID from the attempts table.
local function delete_sid(id, row, sid)
  row.sids[sid] = nil
  redis.call('HDEL', K.row(id), F.table .. sid)
end
