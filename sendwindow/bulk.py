"""How `send_many` cuts messages into batches and keeps count. No I/O; both producers use it."""

from collections.abc import Callable, Sequence
from typing import Final

from sendwindow.answers import Rejected, SendSummary
from sendwindow.contract import SendMessage
from sendwindow.errors import IdConflict, InvalidMessage, QueueFull
from sendwindow.exchange import BATCH_BYTES, Answer, Entry, Message, prepare, to_receipt

LARGEST_BATCH: Final = 1000

Progress = Callable[[int], None]
"""Called after each batch with the number of messages answered so far."""


class Bulk:
    """The open batch and the summary so far."""

    def __init__(self, batch: int, on_progress: Progress | None) -> None:
        if not 1 <= batch <= LARGEST_BATCH:
            raise ValueError(f"batch is 1 to {LARGEST_BATCH}; give a number in that range")
        self.summary = SendSummary()
        self.entries: list[Entry] = []
        self._batch = batch
        self._on_progress = on_progress
        self._positions: list[int] = []
        self._invalid: list[Rejected] = []
        self._bytes = 0
        self._next = 0

    def add(self, message: Message) -> bool:
        """Take one message; tell whether the batch is full now."""
        try:
            entry = prepare(message)
        except InvalidMessage as error:
            self._invalid.append(Rejected(self._next, _id_of(message), error))
        else:
            self.entries.append(entry)
            self._positions.append(self._next)
            self._bytes += len(entry.job)
        self._next += 1
        return len(self.entries) + len(self._invalid) >= self._batch or self._bytes >= BATCH_BYTES

    def settle(self, answers: Sequence[Answer]) -> None:
        """Count a batch's answers and open the next. Raises QueueFull after counting what was answered."""
        full: QueueFull | None = None
        self.summary.rejected += self._invalid
        for position, entry, answer in zip(self._positions, self.entries, answers, strict=True):
            try:
                self.summary.receipts.append(to_receipt(entry, answer))
            except IdConflict as error:
                self.summary.rejected.append(Rejected(position, error.message_id, error))
            except QueueFull as error:
                full = error
        self.entries, self._positions, self._invalid, self._bytes = [], [], [], 0
        if full:
            raise full
        if self._on_progress:
            self._on_progress(self.summary.done)


def _id_of(message: Message) -> str | None:
    # An invalid dictionary's own id is not repeated: it may be what is wrong with it.
    return message.message_id if isinstance(message, SendMessage) else None
