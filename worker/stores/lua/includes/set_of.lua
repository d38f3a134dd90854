-- Returns a list as a set.
local function set_of(names)
  local set = {}
  for _, name in ipairs(names) do set[name] = true end
  return set
end
