"""How `send_many` divides messages into batches and counts them.

Does no I/O. Both producers use it.
"""

from collections.abc import Callable, Sequence
from typing import Final

from sendwindow.contract import SendMessage
from sendwindow.errors import QueueFull, QueueScope
from sendwindow.message_errors import IdConflict, InvalidMessage
from sendwindow.protocol import MAX_BATCH_BYTES, EnqueueResult, Entry, Message, prepare
from sendwindow.results import NotQueued, SendSummary

MAX_BATCH_MESSAGES: Final = 1000

Progress = Callable[[int], None]
"""Called after each batch with the number of messages processed so far."""


class Batch:
    """The batch that is being filled, and the summary of the batches before it."""

    def __init__(self, batch: int, on_progress: Progress | None) -> None:
        if not 1 <= batch <= MAX_BATCH_MESSAGES:
            raise ValueError(f"batch is 1 to {MAX_BATCH_MESSAGES}; give a number in that range")
        self.summary = SendSummary()
        self.entries: list[Entry] = []
        self._batch = batch
        self._on_progress = on_progress
        self._positions: list[int] = []
        self._invalid: list[NotQueued] = []
        self._bytes = 0
        self._next = 0

    def add(self, message: Message) -> bool:
        """Add one message to the batch and return whether the batch is now full."""
        try:
            entry = prepare(message)
        except InvalidMessage as error:
            self._invalid.append(NotQueued(self._next, _id_of(message), error))
        else:
            self.entries.append(entry)
            self._positions.append(self._next)
            self._bytes += len(entry.job)
        self._next += 1
        return (
            len(self.entries) + len(self._invalid) >= self._batch or self._bytes >= MAX_BATCH_BYTES
        )

    def settle(self, results: Sequence[EnqueueResult]) -> None:
        """Add the results of this batch to the summary and start the next batch.

        Raises QueueFull if the store was full for any message. The summary then already includes
        the other messages of the batch.
        """
        full: QueueFull | None = None
        self.summary.rejected += self._invalid
        for position, entry, result in zip(self._positions, self.entries, results, strict=True):
            if isinstance(result, QueueFull) and result.scope is QueueScope.STORE:
                full = result
            elif isinstance(result, IdConflict | QueueFull):
                rejected = NotQueued(position, entry.message.message_id, result)
                self.summary.rejected.append(rejected)
            else:
                self.summary.receipts.append(result)
        self.entries, self._positions, self._invalid, self._bytes = [], [], [], 0
        if full:
            raise full
        if self._on_progress:
            self._on_progress(self.summary.done)


def _id_of(message: Message) -> str | None:
    # Do not report the id of an invalid dictionary: the id itself may be the invalid part.
    return message.message_id if isinstance(message, SendMessage) else None
