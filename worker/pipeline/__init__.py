"""The path of one message: claim, decide, admit, POST, settle; and the unknown search.

The unknown search looks for evidence of attempts whose outcome is not proven.
"""
