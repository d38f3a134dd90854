"""Decides what may be sent, to whom and in which form: pure rules over facts.

This package does no I/O, reads no clock and uses neither randomness nor async.
"""
