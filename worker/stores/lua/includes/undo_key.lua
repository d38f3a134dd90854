-- include: follow_pointers

-- Returns the key that an undoable effect writes to, by the letter of its kind: p (person), s
-- (sender), a (account), c (content template). Returns nil when the attempt has no such thing.
local function undo_key(kind, who)
  if kind == 'p' then
    return (who.digest or '') ~= '' and K.person(follow_pointers(who.digest)) or nil
  end
  if kind == 's' then return K.sender(who.sender) end
  if kind == 'a' then return who.account ~= '' and K.account(who.account) or nil end
  if kind == 'c' then return (who.template or '') ~= '' and K.template(who.template) or nil end
end
