"""A stand-in for Twilio's Messages API with rules of its own.

It shares no code with policies, nor with the worker, the gateway or the stores.
"""
