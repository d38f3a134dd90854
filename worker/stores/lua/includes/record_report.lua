-- include: apply_report_effects, delete_sid, int, lasting_effects, other_sids, proof_of, sid_line

-- No correct provider gives one message so many SIDs. If one does, the row must not grow: the
-- reports that got furthest stay.
local MAX_SIDS = 8

-- Returns the SID whose line has to go to make room for one more; nil while there is room. While a
-- reply is awaited, it is never the SID that `proof_of` returns. It is never one whose failure
-- began another life either, because a repeated report on that SID must be told apart from news.
local function sid_to_discard(row, sid, rank, attempt)
  local is_posting, last = row[F.stage] == C.POSTING, row[F.attempt]
  local proof = is_posting and proof_of(row) or nil
  local is_proof = is_posting and attempt == last and not (proof and row.sids[proof].n == last)
  local number, least, lowest = 0, sid, is_proof and math.huge or rank
  for name, line in pairs(other_sids(row)) do
    number = number + 1
    local is_less = line.rank < lowest or (line.rank == lowest and least ~= sid and name < least)
    if name ~= proof and not line.reopened and is_less then least, lowest = name, line.rank end
  end
  if number < MAX_SIDS or (is_proof and least == sid) then return nil end
  return least
end

local function raise_discarded_rank(id, row, rank)
  row.discarded_rank = math.max(row.discarded_rank, rank)
  redis.call('HSET', K.row(id), F.discarded_rank, int(row.discarded_rank))
end

-- Records a report on a SID that is not the row's, or not yet. Only the furthest report is kept,
-- and the effects of each apply once. Returns whether it went further than what was kept.
local function record_report(id, row, attempt, update, now)
  local sid, before = update.sid, row.sids[update.sid]
  if before and before.rank >= update.rank then return false end
  local discarded = not before and sid_to_discard(row, sid, update.rank, attempt)
  -- Reports on this SID may have been dropped before, so its effects may have been applied already.
  -- Then only effects apply that may be applied twice.
  local is_doubtful = not before and (discarded == sid or update.rank <= row.discarded_rank)
  local only = is_doubtful and LASTING_EFFECTS or nil
  apply_report_effects(id, row, attempt, update, now, only, before and before.failure)
  if discarded then
    raise_discarded_rank(id, row, discarded == sid and update.rank or row.sids[discarded].rank)
    if discarded == sid then return false end
    delete_sid(id, row, discarded)
  end
  write_sid(id, row, sid, {
    n = attempt,
    rank = update.rank,
    status = update.status,
    final = update.final,
    failure = update.failure,
    code = update.code,
    reopen = update.reopen,
    tries = update.tries,
    redecides = update.redecides,
    copied = update.copied or (before and before.copied),
    copied_by_reply = update.copied_by_reply or (before and before.copied_by_reply),
  })
  return true
end
