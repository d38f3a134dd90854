-- Returns the member of `K.parked` that stands for a sender or an account.
local function parked_as(kind, name)
  return kind .. '|' .. name
end
