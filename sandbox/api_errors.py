"""Twilio's error bodies: code, HTTP status and sentence.

Source: twilio.com/docs/api/errors, read 2026-11-20.
"""

from dataclasses import dataclass
from typing import Final

SENTENCES: Final[dict[int, tuple[int, str]]] = {
    20003: (401, "Authenticate"),
    20404: (404, "The requested resource was not found"),
    20422: (400, "Invalid Parameter"),
    20429: (429, "Too Many Requests"),
    20500: (500, "An internal server error has occurred"),
    20503: (503, "Service unavailable"),
    21211: (400, "Invalid 'To' address"),
    21212: (400, "Invalid From address (caller ID)"),
    21602: (400, "Message body is required."),
    21603: (400, "A 'From' or 'MessagingServiceSid' is required"),
    21604: (400, "A 'To' address is required."),
    21606: (400, "The 'From' address is not a message-capable sender of this account"),
    21608: (
        400,
        "The recipient is unverified. Trial accounts cannot send messages to unverified recipients",
    ),
    21609: (400, "The StatusCallback URL is not a valid URL"),
    21610: (400, "Attempt to send to unsubscribed recipient"),
    21617: (400, "The concatenated message body exceeds the 1600 character limit"),
    21620: (400, "Invalid media URL(s)"),
    21623: (400, "Number of media files exceeds allowed limit"),
    21624: (400, "Validity Period is not valid"),
    21654: (400, "ContentSid Required"),
    21655: (400, "The ContentSid is Invalid"),
    21656: (400, "The Content Variables Parameter is invalid"),
    21657: (400, "The Alphanumeric Sender ID is Invalid"),
    21658: (400, "A parameter exceeds the maximum length"),
    21701: (404, "The Messaging Service does not exist"),
    21703: (400, "The Messaging Service does not have a sender available for this recipient"),
    21705: (400, "The Messaging Service SID is invalid"),
    21712: (400, "The 'From' address is not in the Messaging Service's sender pool"),
    30409: (409, "The message can no longer be canceled"),
    35111: (400, "SendAt is required for scheduled messages"),
    35118: (400, "MessagingServiceSid is required to schedule a message"),
    63003: (400, "Channel could not find To address"),
    63007: (400, "Could not find a Channel with the specified From address"),
    63008: (
        400,
        "Could not execute the request: the channel module reports the addresses do not match",
    ),
    63013: (400, "This message violates the channel's policy"),
    63016: (400, "Failed to send freeform message because you are outside the allowed window"),
    63018: (429, "Rate limit exceeded for channel"),
    63021: (400, "Channel invalid content error"),
    63030: (400, "Unsupported parameter for this type of channel message"),
    63031: (400, "The From and To addresses cannot be the same"),
    63040: (400, "Template was rejected"),
    63041: (400, "Template was paused"),
    63042: (400, "Template was disabled"),
    63049: (400, "Meta chose not to deliver this WhatsApp marketing message"),
}


@dataclass(frozen=True, slots=True)
class ApiError:
    """One refusal in Twilio's words. `is_decimal`: its code is written as `21610.0`."""

    code: int
    http: int
    message: str
    is_decimal: bool = False

    def body(self) -> dict[str, object]:
        """Build the JSON object of the answer."""
        return {
            "code": float(self.code) if self.is_decimal else self.code,
            "message": self.message,
            "more_info": f"https://www.twilio.com/docs/errors/{self.code}",
            "status": self.http,
        }


def api_error(code: int, http: int | None = None) -> ApiError:
    """Build the error of a code. A code without a row here gets `http`, or 400 if that is None."""
    usual, sentence = SENTENCES.get(code, (400, "The request was refused"))
    return ApiError(code, http or usual, sentence)
