-- include: try_decode

-- Returns the message inside a job, or nil. It is arq's first argument, or its keyword arguments.
local function message_of(payload)
  local job = payload and try_decode(payload)
  if not job then return nil end
  local message = type(job.a) == 'table' and job.a[1] or job.k
  if type(message) == 'table' then return message end
end
