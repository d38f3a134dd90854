-- include: first_digest, follow_pointers, gather

-- Moves a person's records and returns the digest that they are under.
local function gathered(names)
  return follow_pointers(first_digest(gather(names)))
end
