-- Sends messages again that were refused, failed or expired, by a person's command: another life of each under its id, decided afresh.
-- Safe to repeat: the expiry of the life tells a repeated call from a second order, also when that life has ended by then.
-- ARGV: '1' to write nothing, '1' to send also what may have gone out, then for each message its id and when it expires (ms).
-- Answers for each 'retried' ('may_go' when nothing is written), 'not_ended' (it did not end so), 'unknown_id', or what hinders it, as in
-- dead.lua.
local MAX = 32
local now = clock()

local function retry(id, row, expires, even_if_sent, is_dry)
  if row.lf and row.e == expires then return 'retried' end
  if row.s == 'cancelled' then return 'cancelled' end
  if not MAY_BE_RETRIED[row.s] then return 'not_ended' end
  local hindrance = hinders_sending(id, row, even_if_sent)
  if hindrance or is_dry then return hindrance or 'may_go' end
  count('retried')
  send_again(id, row, 'retried', expires, now)
  return 'retried'
end

local is_dry, even_if_sent = ARGV[1] == '1', ARGV[2] == '1'
if #ARGV > 2 + 2 * MAX then return redis.error_reply('ERR at most ' .. MAX .. ' messages a call') end
local answers = {}
for at = 3, #ARGV, 2 do
  local id = ARGV[at]
  local row = load(id)
  answers[#answers + 1] = row and retry(id, row, ARGV[at + 1], even_if_sent, is_dry) or 'unknown_id'
end
return answers
