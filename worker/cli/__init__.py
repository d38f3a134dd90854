"""One module per command: what it prints, and its exit code. No module holds a rule of its own."""
