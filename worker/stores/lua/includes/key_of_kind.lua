-- The keys of what an operator can pause or reset, by its kind.
local KEY_OF_KIND = {
  sender = K.sender, account = K.account, template = K.template, tag_state = K.tag_state,
}
