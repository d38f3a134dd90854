"""Twilio's HTTP interfaces: requests and replies as pure functions, the client, the signature of callbacks."""
