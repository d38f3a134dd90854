"""Where Twilio reaches us: status callbacks and inbound messages, applied and stored before they are answered."""
