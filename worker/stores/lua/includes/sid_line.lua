-- include: int

-- Letter of a flag in a SID's line → its name.
local FLAGS = {
  f = 'failure',
  e = 'final',
  w = 'redecides',
  r = 'reopened',
  c = 'copied',
  C = 'copied_by_reply',
}
local FLAG_ORDER = { 'f', 'e', 'w', 'r', 'c', 'C' }

-- Reads the line of a SID in the attempts table of a row (docs/decisions/0018): attempt, rank,
-- flags, status, code, and when and for how many tries its failure may begin another life.
local function read_sid(text)
  local n, rank, flags, status, code, reopen, tries =
    string.match(text, '^(%d+),(%-?%d+),(%a*),([^,]*),(%d*),(%d*),(%d*)$')
  if not n then return nil end
  local line = {
    n = tonumber(n),
    rank = tonumber(rank),
    status = status,
    code = tonumber(code),
    reopen = tonumber(reopen),
    tries = tonumber(tries),
  }
  for letter in string.gmatch(flags, '%a') do line[FLAGS[letter] or letter] = true end
  return line
end

local function optional(number)
  return number and int(number) or ''
end

-- Writes the line of a SID.
local function write_sid(id, row, sid, line)
  local flags = ''
  for _, letter in ipairs(FLAG_ORDER) do
    if line[FLAGS[letter]] then flags = flags .. letter end
  end
  local parts = {
    int(line.n),
    int(line.rank),
    flags,
    line.status or '',
    optional(line.code),
    optional(line.reopen),
    optional(line.tries),
  }
  row.sids[sid] = line
  redis.call('HSET', K.row(id), F.table .. sid, table.concat(parts, ','))
end
