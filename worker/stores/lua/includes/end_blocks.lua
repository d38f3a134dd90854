-- Ends what errors taught about a person until `at`: the suppression of the address, and what is
-- held back on an account (nil: on every account).
-- `only_inbound`: ends only what is to end when the person writes. Returns how many it ended. The
-- caller raises the person's revision.
local function end_blocks(digest, account, at, only_inbound)
  local key, lifted = K.person(digest), 0
  for _, name in ipairs(redis.call('HKEYS', key)) do
    if name == F.suppressed_until then
      local taught = string.match(redis.call('HGET', key, F.suppressed_by) or '', '^(%d+):')
      if not taught or tonumber(taught) <= at then
        redis.call('HDEL', key, F.suppressed_until, F.suppressed_for, F.suppressed_by)
        lifted = lifted + 1
      end
    else
      local of = string.match(name, '^' .. F.block .. '([^|]*)|')
      local taught, flag = nil, nil
      if of and (not account or of == account) then
        taught, flag = string.match(redis.call('HGET', key, name), '^(%d+):%d*:([01]):')
        -- A block that this version cannot read holds everything back, and only an operator ends
        -- it.
        if not taught then taught, flag = '0', '0' end
      end
      if taught and tonumber(taught) <= at and (flag == '1' or not only_inbound) then
        redis.call('HDEL', key, name)
        lifted = lifted + 1
      end
    end
  end
  return lifted
end
