"""One POST to Twilio, and what is known of it afterwards."""

from dataclasses import dataclass, field

from sendwindow.vocabulary import Reason


@dataclass(frozen=True, slots=True)
class CreateMessage:
    """One POST to the Messages API, ready to encode.

    `form` holds only the API parameters that facts 1.1 lists, in a fixed order.
    """

    account: str
    form: tuple[tuple[str, str], ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Accepted:
    """Twilio accepted the message and gave it a SID."""

    message_sid: str
    status: str
    http_status: int = 201


@dataclass(frozen=True, slots=True)
class Rejected:
    """Proof that Twilio did not process the message: an error code with a 4xx, or 429 with 20429.

    `retry_after`: seconds, None when Twilio did not send it.
    """

    http_status: int
    code: int | None
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class NotSent:
    """Proof that no byte of the request left.

    The connection was refused or timed out, DNS or the TLS handshake failed, or the permit lapsed.
    """

    detail: str


@dataclass(frozen=True, slots=True)
class Unproven:
    """Bytes may have left, and no proof came back.

    `excerpt`: the start of the response. It holds no personal data if the response was readable.
    """

    reason: Reason
    detail: str
    http_status: int | None = None
    code: int | None = None
    excerpt: str = field(default="", repr=False)


Reply = Accepted | Rejected | NotSent | Unproven
