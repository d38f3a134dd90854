"""The HTTP server that Twilio calls with status callbacks and inbound messages.

It applies and stores each request before it responds.
"""
