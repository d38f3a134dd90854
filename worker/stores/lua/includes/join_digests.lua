-- include: follow_pointers, move_records

-- Adds to a person digests that no data connects with that person. Later records under these
-- digests are found by the pointer.
local function join_digests(person, digests)
  for digest in string.gmatch(digests, '%x+') do
    local there = follow_pointers(digest)
    if there ~= person then
      move_records(there, person)
    elseif digest ~= person and redis.call('HLEN', K.person(digest)) > C.POINTER_FIELDS then
      move_records(digest, person)
    end
  end
end
