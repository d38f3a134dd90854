"""The settings of a process: their schema, how they are read, and how they are checked."""
