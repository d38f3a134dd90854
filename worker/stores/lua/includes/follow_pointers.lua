-- More pointers in a chain than merges leave.
local MAX_POINTERS = 32

-- Returns the digest that a person's record points to, or nil. A pointer that is not a digest leads
-- nowhere: the decision that reads such a record permits nothing.
local function pointer_of(digest)
  local to = redis.call('HGET', K.person(digest), F.moved_to)
  return to and #to == C.DIGEST_CHARACTERS and not string.find(to, '%X') and to or nil
end

-- Returns the same digest from whatever member of a circle of pointers the search began, so that
-- all its members stay one person.
local function least_of_circle(digest)
  local least, at = digest, pointer_of(digest)
  while at ~= digest do
    if at < least then least = at end
    at = pointer_of(at)
  end
  return least
end

-- Returns where a person's records are now: follows the pointers that `move_records`
-- leaves. It always terminates, whatever those pointers hold.
-- After too many pointers, and in a circle, it returns a record that has a pointer itself. Such a
-- record permits nothing. For a digest that it returned it returns the same digest, so that later
-- reads find what was written there.
local function follow_pointers(start)
  local digest, seen = start, {}
  for _ = 1, MAX_POINTERS do
    local to = pointer_of(digest)
    if not to then return digest end
    seen[digest] = true
    if seen[to] then return least_of_circle(to) end
    digest = to
  end
  return pointer_of(digest) and start or digest
end
