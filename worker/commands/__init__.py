"""One module a command: what it prints, and what it answers with. None holds a rule of its own."""
