-- Decodes untrusted text: returns nil instead of raising. Never use it to write a payload back.
local function try_decode(text)
  local fine, value = pcall(cjson.decode, text)
  if fine and type(value) == 'table' then return value end
end
