-- Returns the ContentSid of the template that a message asks for. The message names it by
-- configured name and language, or by ContentSid. Returns '' when the store knows none.
local function content_sid_of(message)
  local template = message and message.template
  if type(template) ~= 'table' or type(template.name) ~= 'string' then return '' end
  if string.sub(template.name, 1, 2) == 'HX' then return template.name end
  local language = type(template.language) == 'string' and template.language or ''
  return redis.call('HGET', K.contents, template.name .. '|' .. language) or ''
end
