-- Returns the first of the digests of a person.
-- One person may be known under several digests, because each spelling of an address has a digest
-- of its own. `PersonDigests.persons_of` returns them as one text, separated by spaces, the
-- canonical one first. Records are kept under the canonical digest. A record that another release
-- wrote under another digest moves there when a script touches it, and a pointer (`F.moved_to`)
-- stays behind for the rows that name the old digest. Permits and waiting lists do not move,
-- because rows name them:
-- the field `F.other_digests` lists the digests that they may be under.
local function first_digest(names)
  return string.sub(names, 1, C.DIGEST_CHARACTERS)
end
