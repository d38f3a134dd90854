-- include: int

-- Reads the line of an attempt in the attempts table of a row (docs/decisions/0018): intent (ms),
-- form (see `relied_on_tag`), ContentSid; then `!` and what else the attempt was (m: a marketing
-- template, u: to a user id); then `-` once it is proven that the attempt led to nothing. Returns
-- nil for a line that this version cannot read.
local function read_attempt(text)
  local at, form, template, more, gone = string.match(text, '^(%d+)(%a)([^!%-]*)!?(%a*)(%-?)$')
  if not at then return nil end
  return {
    at = tonumber(at),
    form = form,
    template = template,
    is_gone = gone ~= '',
    marketing = string.find(more, 'm', 1, true) ~= nil,
    user_id = string.find(more, 'u', 1, true) ~= nil,
  }
end

-- Returns the line of an attempt.
local function attempt_line(attempt)
  local more = (attempt.marketing and 'm' or '') .. (attempt.user_id and 'u' or '')
  return table.concat({
    int(attempt.at),
    attempt.form,
    attempt.template,
    more ~= '' and '!' .. more or '',
    attempt.is_gone and '-' or '',
  })
end

-- Writes the line of attempt `n`.
local function write_attempt(id, row, n, attempt)
  row.attempts[n] = attempt
  redis.call('HSET', K.row(id), F.table .. int(n), attempt_line(attempt))
end
