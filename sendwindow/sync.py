"""The producer for backends without asyncio (Django, Flask, Celery): the twin of `producer.py`, call for call."""

import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self

from sendwindow import exchange
from sendwindow.answers import CancelAnswer, MessageStatus, Receipt, SendSummary
from sendwindow.bulk import Bulk, Progress
from sendwindow.connect import checked_partition, connect_sync, disconnect_sync, replicas_asked
from sendwindow.errors import FULL_AFTER_SILENCE, QueueFull, StoreUnavailable
from sendwindow.exchange import Answer, Entry, Message
from sendwindow.keys import Keys
from sendwindow.patience import STORE_ERRORS, Patience
from sendwindow.scripts import WAIT_MS, Argument, execute, execute_together_sync
from sendwindow.store_faults import place_of


class Producer:
    """Puts messages on the queue of one partition. Keep one for the whole process; close it at the end.

    Threads may share it, and after a fork each process connects anew.
    `durability`: `none`, or `wait:N` to answer only after N replicas have it. `timeout`: seconds after which no call
    tries again; a try already under way may take as long once more.
    """

    def __init__(self, url: str, partition: str = "p0", *, durability: str = "none", timeout: float = 5.0) -> None:
        self._keys = Keys(checked_partition(partition))
        self._replicas = replicas_asked(durability)
        self._timeout = timeout
        # The tries are counted here, not inside redis-py: only so is a repeated call known to be one.
        self._store = connect_sync(url, budget=0, timeout=timeout / 2 + (WAIT_MS / 1000 if self._replicas else 0))
        self._place = place_of(url)

    def send(self, message: Message) -> Receipt:
        """Queue one message.

        A repeated id with the same content gives the first receipt, marked duplicate. Raises InvalidMessage,
        IdConflict, QueueFull (nothing queued) and StoreUnavailable (perhaps queued: send the same object again).
        """
        entry = exchange.prepare(message)
        [answer] = self._enqueue([entry])
        return exchange.to_receipt(entry, answer)

    def send_many(
        self,
        messages: Iterable[Message],
        *,
        batch: int = 500,
        on_progress: Progress | None = None,
    ) -> SendSummary:
        """Queue any number of messages, one call to the store a batch.

        Invalid and conflicting messages are listed in the summary and stop nothing. Raises QueueFull and
        StoreUnavailable, whose `summary` tells what was done and `unproven` which messages may or may not be queued.
        """
        bulk = Bulk(batch, on_progress)
        for message in exchange.many(messages):
            if bulk.add(message):
                self._flush(bulk)
        self._flush(bulk)
        return bulk.summary

    def status(self, message_id: str) -> MessageStatus | None:
        """Tell where a message is; None: unknown, or ended more than 72 hours ago. Raises StoreUnavailable."""
        commands = exchange.status_commands(self._keys, message_id)
        patience = Patience(self._timeout, self._place)
        while True:
            try:
                return exchange.read_status(message_id, execute_together_sync(self._store, commands))
            except STORE_ERRORS as error:
                failure = error
            time.sleep(patience.after(failure))

    def cancel(self, message_id: str) -> CancelAnswer:
        """Cancel a message that has not gone out. Raises StoreUnavailable; asking again is safe."""
        asked = [exchange.one_id(message_id)]
        patience = Patience(self._timeout, self._place)
        while True:
            try:
                reply = exchange.CANCEL.run_sync(self._store, self._keys.meta, asked, replicas=self._replicas)
                return exchange.read_cancel(reply)
            except STORE_ERRORS as error:
                failure = error
            time.sleep(patience.after(failure))

    def close(self) -> None:
        """Close the connections to the store."""
        disconnect_sync(self._store)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _flush(self, bulk: Bulk) -> None:
        try:
            bulk.settle(self._enqueue(bulk.entries) if bulk.entries else [])
        except (QueueFull, StoreUnavailable) as error:
            error.summary = bulk.summary
            raise

    def _enqueue(self, entries: Sequence[Entry]) -> list[Answer]:
        arguments = exchange.enqueue_arguments(entries)
        patience = Patience(self._timeout, self._place)
        while True:
            try:
                return self._enqueue_once(entries, arguments, repeated=patience.failures > 0)
            except STORE_ERRORS as error:
                failure = error
            unproven = tuple(entry.message for entry in entries)
            try:
                pause = patience.after(failure)
            except StoreUnavailable as error:
                error.unproven = unproven
                raise
            except QueueFull as error:
                if patience.failures == 1:
                    raise
                raise StoreUnavailable(FULL_AFTER_SILENCE, unproven=unproven) from error
            time.sleep(pause)

    def _enqueue_once(self, entries: Sequence[Entry], arguments: list[Argument], *, repeated: bool) -> list[Answer]:
        reply = exchange.ENQUEUE.run_sync(self._store, self._keys.meta, arguments, replicas=self._replicas)
        answers = exchange.read_answers(reply)
        positions = exchange.doubtful(entries, answers) if repeated else []
        if not positions:
            return answers
        keys = [self._keys.job(entries[at].message.message_id) for at in positions]
        return exchange.recognise(entries, answers, positions, execute(self._store, "MGET", *keys))
