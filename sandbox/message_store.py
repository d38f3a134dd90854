"""The messages that the sandbox holds, both outbound and inbound.

They are found by SID, recipient and sender, newest first. The oldest are forgotten.
"""

import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache


@dataclass(slots=True)
class StoredMessage:
    """One message as the provider has it.

    `message_id` and `attempt` come from its StatusCallback. Times are in milliseconds.

    `category`: that of the template the message was sent as. `channel_words`: how the channel
    describes its failure. `is_code_decimal`: its error code is written as `21610.0`.
    `callback_method`: POST or GET. `heard`: the status that its sender was last told, or is being
    told. `media_urls`: SID → URL of the media that are not deleted.
    """

    number: int
    sid: str
    account: str
    to: str
    sender: str | None
    service: str | None
    body: str
    media: int
    form: str
    created_ms: int
    visible_ms: int
    status: str
    direction: str = "outbound-api"
    callback: str | None = None
    message_id: str | None = None
    attempt: int | None = None
    tag: str | None = None
    error_code: int | None = None
    category: str | None = None
    channel_words: str = ""
    is_code_decimal: bool = False
    callback_method: str = "POST"
    heard: str | None = None
    sent_ms: int | None = None
    updated_ms: int = 0
    media_urls: dict[str, str] = field(default_factory=dict)

    def written_code(self, code: int | None) -> int | float | None:
        """Return an error code as this message's callbacks and lists write it."""
        return float(code) if code is not None and self.is_code_decimal else code

    def resource(self) -> dict[str, object]:
        """Build Twilio's JSON of the message.

        Source: twilio.com/docs/messaging/api/message-resource, read 2026-11-20.
        """
        path = f"/2010-04-01/Accounts/{self.account}/Messages/{self.sid}"
        return {
            "account_sid": self.account,
            "api_version": "2010-04-01",
            "body": self.body,
            "date_created": rfc2822(self.created_ms),
            "date_sent": rfc2822(self.sent_ms) if self.sent_ms is not None else None,
            "date_updated": rfc2822(self.updated_ms or self.created_ms),
            "direction": self.direction,
            "error_code": self.written_code(self.error_code),
            "error_message": None,
            "from": self.sender,
            "messaging_service_sid": self.service,
            "num_media": str(self.media),
            "num_segments": "0" if self.sender is None else str(_segments(self.body)),
            "price": None,
            "price_unit": "USD",
            "sid": self.sid,
            "status": self.status,
            "subresource_uris": {
                "media": f"{path}/Media.json",
                "feedback": f"{path}/Feedback.json",
            },
            "to": self.to,
            "uri": f"{path}.json",
        }


class MessageStore:
    """The messages of all accounts, at most `limit`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._order: deque[StoredMessage] = deque()
        self._by_sid: dict[str, StoredMessage] = {}
        self._by_to: dict[str, deque[StoredMessage]] = {}
        self._by_sender: dict[str, deque[StoredMessage]] = {}
        self._made = 0

    def __len__(self) -> int:
        return len(self._order)

    def next_number(self) -> int:
        """Return the next message's place in the order."""
        self._made += 1
        return self._made

    def add(self, held: StoredMessage) -> None:
        """Add a message, and forget the oldest if there are too many."""
        self._order.append(held)
        self._by_sid[held.sid] = held
        self._by_to.setdefault(held.to, deque()).append(held)
        if held.sender is not None:
            self._by_sender.setdefault(held.sender, deque()).append(held)
        if len(self._order) > self._limit:
            self._forget(self._order.popleft())

    def choose_sender(self, held: StoredMessage, sender: str) -> None:
        """Set the sender that a messaging service picked after the message was taken."""
        held.sender = sender
        # Insert it in order: lists are newest first, and forgetting takes from the left.
        line = self._by_sender.setdefault(sender, deque())
        place = len(line)
        while place and line[place - 1].number > held.number:
            place -= 1
        line.insert(place, held)

    def by_sid(self, sid: str) -> StoredMessage | None:
        """Return one message, or None."""
        return self._by_sid.get(sid)

    def remove(self, held: StoredMessage) -> None:
        """Remove one message, wherever it is in the order."""
        del self._by_sid[held.sid]
        self._order.remove(held)
        for index, key in ((self._by_to, held.to), (self._by_sender, held.sender)):
            if key is not None and (line := index.get(key)):
                line.remove(held)
                if not line:
                    del index[key]

    def newest_first(
        self, *, to: str | None = None, sender: str | None = None
    ) -> Iterator[StoredMessage]:
        """Yield the messages of a recipient, of a sender, of both, or all."""
        if to is not None:
            line = self._by_to.get(to, ())
            return (held for held in reversed(line) if sender is None or held.sender == sender)
        if sender is not None:
            return reversed(self._by_sender.get(sender, deque()))
        return reversed(self._order)

    def _forget(self, held: StoredMessage) -> None:
        del self._by_sid[held.sid]
        for index, key in ((self._by_to, held.to), (self._by_sender, held.sender)):
            if key is not None and (line := index.get(key)):
                if line[0] is held:
                    line.popleft()
                if not line:
                    del index[key]


def new_sid(prefix: str) -> str:
    """Return a SID that no other run of the sandbox has made."""
    return prefix + os.urandom(16).hex()


def rfc2822(at_ms: int) -> str:
    """Return a time as Twilio writes it."""
    return _rfc2822_of(at_ms // 1000)


@lru_cache(maxsize=64)
def _rfc2822_of(second: int) -> str:
    return format_datetime(datetime.fromtimestamp(second, UTC))


def _segments(body: str) -> int:
    single, several = (160, 153) if body.isascii() else (70, 67)
    return 1 if len(body) <= single else -(-len(body) // several)
