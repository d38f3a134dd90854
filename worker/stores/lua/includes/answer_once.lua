-- Does the work of a call once. A call that is repeated under the same request id gets the same
-- reply and changes nothing.
-- `kept`: for how long (ms) the reply is kept, because it may not have arrived. It must exceed any
-- outage after which the caller repeats the call.
local function answer_once(request, kept, work)
  local key = K.answered(request)
  local before = redis.call('GET', key)
  if before then
    -- The caller repeats the call, so it has no reply yet: we keep the reply for as long as the
    -- caller repeats.
    redis.call('PEXPIRE', key, kept)
    return cmsgpack.unpack(before)
  end
  local answers = work()
  if #answers > 0 then redis.call('SET', key, cmsgpack.pack(answers), 'PX', kept) end
  return answers
end
