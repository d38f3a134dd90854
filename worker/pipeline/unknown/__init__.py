"""Looks for evidence of attempts whose outcome is not proven, and applies the message's rule."""
