"""Twilio's HTTP interfaces: requests and responses as pure functions, client, signatures."""
