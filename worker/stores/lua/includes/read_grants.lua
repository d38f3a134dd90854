-- Returns the grants of a field `F.grants` as { at =, ends = } (math.huge: never), and the parts of
-- it that this version cannot read.
local function read_grants(value)
  local grants, unread = {}, {}
  for part in string.gmatch(value or '', '[^,]+') do
    local at, ends = string.match(part, '^1:(%d+):(%d*)$')
    if at then
      grants[#grants + 1] = { at = tonumber(at), ends = ends == '' and math.huge or tonumber(ends) }
    else
      unread[#unread + 1] = part
    end
  end
  return grants, unread
end
