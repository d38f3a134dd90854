"""What is stored, one file per thing; the atomic steps are the Lua scripts beside them. Nothing else knows Redis."""
