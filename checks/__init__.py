"""Checks that `./run check` runs and that no other tool has: the blocking twin and dead code."""
