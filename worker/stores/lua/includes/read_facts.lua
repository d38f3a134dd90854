-- include: first_digest, read_person, read_state, read_tag

-- Returns the facts of a decision, as compact arrays.
-- `names`: the person's digests, the digest of its records first (see `gather`). `template`: a
-- ContentSid; the facts repeat it, because the worker may know another. `cache`: avoids reading the
-- same sender, account or template twice in one call.
-- The facts are those of `account`. The last three are the account that the sender is registered
-- with by now, and when a living worker last knew the sender and the template.
local function read_facts(id, names, sender, account, template, now, cache)
  local function state_of(key_of, name)
    if name == '' then return { '0', '', '', '' } end
    local key = key_of(name)
    if not cache[key] then cache[key] = read_state(key, now) end
    return cache[key]
  end
  local from, content = state_of(K.sender, sender), state_of(K.template, template)
  local person, digest = read_person(first_digest(names), sender, from.service, account, now)
  return {
    digest .. string.sub(names, C.DIGEST_CHARACTERS + 1),
    person,
    from,
    state_of(K.account, account),
    content,
    read_tag(sender, id, now),
    template,
    from.account or '',
    from.known_at or '',
    content.known_at or '',
  }
end
