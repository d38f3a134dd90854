"""The way of one message: claim, decide, admit, POST, settle; and the search for what an unproven POST became."""
