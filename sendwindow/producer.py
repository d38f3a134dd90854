"""The producer for asyncio backends: queues messages, asks for their status, cancels them. `sync.py` is its twin."""

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from types import TracebackType
from typing import Self

from sendwindow import exchange
from sendwindow.answers import CancelAnswer, MessageStatus, Receipt, SendSummary
from sendwindow.bulk import Bulk, Progress
from sendwindow.connect import checked_partition, connect, disconnect, replicas_asked
from sendwindow.errors import FULL_AFTER_SILENCE, OtherLoop, QueueFull, StoreUnavailable
from sendwindow.exchange import Answer, Entry, Message
from sendwindow.keys import Keys
from sendwindow.patience import STORE_ERRORS, Patience
from sendwindow.scripts import WAIT_MS, Argument, execute, execute_together
from sendwindow.store_faults import place_of


class Producer:
    """Puts messages on the queue of one partition. Keep one for the whole process; close it at the end.

    It belongs to the event loop of its first call: every call in another loop, or after a fork, raises OtherLoop.
    `durability`: `none`, or `wait:N` to answer only after N replicas have it. `timeout`: seconds after which no call
    tries again; a try already under way may take as long once more.
    """

    def __init__(self, url: str, partition: str = "p0", *, durability: str = "none", timeout: float = 5.0) -> None:
        self._keys = Keys(checked_partition(partition))
        self._replicas = replicas_asked(durability)
        self._timeout = timeout
        # The tries are counted here, not inside redis-py: only so is a repeated call known to be one.
        self._store = connect(url, budget=0, timeout=timeout / 2 + (WAIT_MS / 1000 if self._replicas else 0))
        self._place = place_of(url)
        self._home: tuple[int, asyncio.AbstractEventLoop] | None = None

    async def send(self, message: Message) -> Receipt:
        """Queue one message.

        A repeated id with the same content gives the first receipt, marked duplicate. Raises InvalidMessage,
        IdConflict, QueueFull (nothing queued) and StoreUnavailable (perhaps queued: send the same object again).
        """
        self._stay_home()
        entry = exchange.prepare(message)
        [answer] = await self._enqueue([entry])
        return exchange.to_receipt(entry, answer)

    async def send_many(
        self,
        messages: Iterable[Message] | AsyncIterable[Message],
        *,
        batch: int = 500,
        on_progress: Progress | None = None,
    ) -> SendSummary:
        """Queue any number of messages, one call to the store a batch.

        Invalid and conflicting messages are listed in the summary and stop nothing. Raises QueueFull and
        StoreUnavailable, whose `summary` tells what was done and `unproven` which messages may or may not be queued.
        """
        self._stay_home()
        bulk = Bulk(batch, on_progress)
        async for message in _each(exchange.many(messages)):
            if bulk.add(message):
                await self._flush(bulk)
        await self._flush(bulk)
        return bulk.summary

    async def status(self, message_id: str) -> MessageStatus | None:
        """Tell where a message is; None: unknown, or ended more than 72 hours ago. Raises StoreUnavailable."""
        self._stay_home()
        commands = exchange.status_commands(self._keys, message_id)
        patience = Patience(self._timeout, self._place)
        while True:
            try:
                return exchange.read_status(message_id, await execute_together(self._store, commands))
            except STORE_ERRORS as error:
                failure = error
            await asyncio.sleep(patience.after(failure))

    async def cancel(self, message_id: str) -> CancelAnswer:
        """Cancel a message that has not gone out. Raises StoreUnavailable; asking again is safe."""
        self._stay_home()
        asked = [exchange.one_id(message_id)]
        patience = Patience(self._timeout, self._place)
        while True:
            try:
                reply = await exchange.CANCEL(self._store, self._keys.meta, asked, replicas=self._replicas)
                return exchange.read_cancel(reply)
            except STORE_ERRORS as error:
                failure = error
            await asyncio.sleep(patience.after(failure))

    async def close(self) -> None:
        """Close the connections to the store."""
        self._stay_home()
        await disconnect(self._store)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _stay_home(self) -> None:
        here = os.getpid(), asyncio.get_running_loop()
        self._home = self._home or here
        if self._home != here:
            raise OtherLoop

    async def _flush(self, bulk: Bulk) -> None:
        try:
            bulk.settle(await self._enqueue(bulk.entries) if bulk.entries else [])
        except (QueueFull, StoreUnavailable) as error:
            error.summary = bulk.summary
            raise

    async def _enqueue(self, entries: Sequence[Entry]) -> list[Answer]:
        arguments = exchange.enqueue_arguments(entries)
        patience = Patience(self._timeout, self._place)
        while True:
            try:
                return await self._enqueue_once(entries, arguments, repeated=patience.failures > 0)
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
            await asyncio.sleep(pause)

    async def _enqueue_once(
        self, entries: Sequence[Entry], arguments: list[Argument], *, repeated: bool
    ) -> list[Answer]:
        reply = await exchange.ENQUEUE(self._store, self._keys.meta, arguments, replicas=self._replicas)
        answers = exchange.read_answers(reply)
        positions = exchange.doubtful(entries, answers) if repeated else []
        if not positions:
            return answers
        keys = [self._keys.job(entries[at].message.message_id) for at in positions]
        return exchange.recognise(entries, answers, positions, await execute(self._store, "MGET", *keys))


async def _each(messages: Iterable[Message] | AsyncIterable[Message]) -> AsyncIterator[Message]:
    if isinstance(messages, AsyncIterable):
        async for message in messages:
            yield message
    else:
        for message in messages:
            yield message
