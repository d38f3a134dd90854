"""What is stored, one module per thing. The atomic steps are the Lua scripts in `lua/`.

Only this package knows Redis.
"""
