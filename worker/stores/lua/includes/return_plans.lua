-- include: int, parked_as, planned_rates, rate_times, wake_claimer

-- The senders and accounts of which claimed messages were not posted, and how many of each.
local unposted, unposted_by_member = {}, {}

local function note_unposted(kind, name)
  local member = parked_as(kind, name)
  local kept = unposted_by_member[member]
  if not kept then
    kept = { kind = kind, name = name, member = member, number = 0 }
    unposted_by_member[member], unposted[#unposted + 1] = kept, kept
  end
  kept.number = kept.number + 1
end

-- Notes that a claimed message was not posted, so that it uses up nothing of what was planned.
local function return_to_plan(sender, account)
  note_unposted('sender', sender)
  if account ~= '' then note_unposted('account', account) end
end

-- Returns the plan of a sender or an account by the pace that is registered with it, and whether
-- its open POSTs are limited.
local function registered_plan(kind, name, now)
  local key = kind == 'account' and K.account(name) or K.sender(name)
  local pace, posts = unpack(redis.call('HMGET', key, F.pace, F.open_posts))
  return plan_of(kind, name, pace, now), posts
end

-- Gives back what was noted. What is parked because of it may be claimed earlier.
local function write_returned_plans(now)
  local is_earlier = false
  for _, kept in ipairs(unposted) do
    local plan, posts = registered_plan(kept.kind, kept.name, now)
    local ends = posts and now
    if plan and plan.planned > plan.arrival then
      plan.planned = math.max(plan.arrival, plan.planned - kept.number * plan.interval)
      write_rate(plan.key, plan.arrival, plan.planned, plan.us)
      local room, free_at = room_in(plan)
      ends = room > 0 and now or free_at
    end
    if ends then
      local changed = redis.call('ZADD', K.parked, 'XX', 'LT', 'CH', int(ends), kept.member)
      is_earlier = is_earlier or changed == 1
    end
  end
  if is_earlier then wake_claimer() end
end
