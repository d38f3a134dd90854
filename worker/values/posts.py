"""One POST to Twilio, and what is known of it afterwards."""

from dataclasses import dataclass, field

from sendwindow.vocabulary import Reason


@dataclass(frozen=True, slots=True)
class CreateMessage:
    """One POST to the Messages API, ready to encode; `form` holds only parameters of facts 1.1, in a fixed order."""

    account: str
    form: tuple[tuple[str, str], ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Accepted:
    """Twilio gave the message a SID."""

    message_sid: str
    status: str
    http_status: int = 201


@dataclass(frozen=True, slots=True)
class Rejected:
    """Proven not processed: a Twilio error code with a 4xx, or 429 with 20429. `retry_after` in seconds when given."""

    http_status: int
    code: int | None
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class NotSent:
    """Proven that no byte of the request left.

    refused connection, DNS, TLS handshake, connect timeout, lapsed permit.
    """

    detail: str


@dataclass(frozen=True, slots=True)
class Unproven:
    """Bytes may have left and no proof came back.

    `excerpt` is the cut answer, without personal data where it was readable.
    """

    reason: Reason
    detail: str
    http_status: int | None = None
    code: int | None = None
    excerpt: str = field(default="", repr=False)


Reply = Accepted | Rejected | NotSent | Unproven
