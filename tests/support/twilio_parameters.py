"""What a POST of this service may hold."""

from typing import Final

PARAMETERS: Final = frozenset(
    {
        "To",
        "From",
        "MessagingServiceSid",
        "Body",
        "MediaUrl",
        "ContentSid",
        "ContentVariables",
        "StatusCallback",
        "ValidityPeriod",
    }
)
"""Every parameter that this service sends.

They are a subset of Twilio's "Messages resource" page (read 2026-11-20). `Attempt` is left out:
Twilio does not use it to detect duplicates, and the callback URL already contains our attempt
number.
"""
