-- For luacheck (Debian: lua-check). `./run check` reads the assembled scripts with it; see checks/lua.py.
std = "min"
max_line_length = 100
read_globals = {
  -- What Redis offers.
  "redis", "cjson", "cmsgpack", "KEYS", "ARGV", "unpack",
  -- What sendwindow/lua_sources.py replaces: keys, stored fields, constants.
  "K", "F", "C",
}
-- Every script reads the clock, which sets the lead; not every script needs it.
ignore = { "231/lead" }
