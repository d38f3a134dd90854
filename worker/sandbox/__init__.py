"""A stand-in for Twilio's Messages API with rules of its own: no code of policies, dispatch, gateway or stores."""
