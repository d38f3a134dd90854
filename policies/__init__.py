"""What may be sent, to whom, in which form: pure rules over facts. No I/O, no clock, no randomness, no async."""
