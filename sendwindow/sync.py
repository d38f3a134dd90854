"""The producer for backends without asyncio, such as Django, Flask and Celery.

`./run fmt` writes this file from its twin `producer.py`: edit only that one.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from itertools import chain
from types import TracebackType
from typing import Self, TypeVar

from sendwindow import protocol
from sendwindow.batch import Batch, Progress
from sendwindow.connect import checked_partition, connect_sync, disconnect_sync, replicas_asked
from sendwindow.contract import SendMessage
from sendwindow.errors import QueueFull, StoreUnavailable
from sendwindow.keys import Keys
from sendwindow.protocol import EnqueueResult, Entry, Message
from sendwindow.results import CampaignStatus, CancelAnswer, MessageStatus, Receipt, SendSummary
from sendwindow.retry_deadline import MAX_MEMORY_PERCENT, STORE_ERRORS, RetryDeadline
from sendwindow.scripts import WAIT_MS, execute, execute_together_sync
from sendwindow.store_faults import place_of

_Result = TypeVar("_Result")


class Producer:
    """Puts messages on the queue of one partition.

    Use one producer for the whole process, and close it at the end. Threads may share it. After a
    fork, each process opens its own connections.

    `durability`: `none`, or `wait:N` so that a call returns only after N replicas have the message.
    `timeout`: seconds after which a call starts no further try. A try that is already in progress
    may take the same time again.
    """

    def __init__(
        self, url: str, partition: str = "p0", *, durability: str = "none", timeout: float = 5.0
    ) -> None:
        self._keys = Keys(checked_partition(partition))
        self._meta = self._keys.meta
        self._replicas = replicas_asked(durability)
        self._timeout = timeout
        self._store = connect_sync(
            url, timeout=timeout / 2 + (WAIT_MS / 1000 if self._replicas else 0)
        )
        self._place = place_of(url)

    def send(self, message: Message) -> Receipt:
        """Queue one message.

        If the id was sent before with the same content, this returns the first receipt, marked as a
        duplicate. Raises InvalidMessage, IdConflict and QueueFull, after which the message is not
        queued. Raises StoreUnavailable, after which it may be queued: send the same object again.
        """
        [result] = self._enqueue([protocol.prepare(message)])
        if isinstance(result, Receipt):
            return result
        raise result

    def send_many(
        self,
        messages: Iterable[Message],
        *,
        batch: int = 500,
        on_progress: Progress | None = None,
    ) -> SendSummary:
        """Queue any number of messages, with one call to the store for each batch.

        The summary lists invalid and conflicting messages; they do not stop the others. Raises
        QueueFull and StoreUnavailable. The `summary` of the error says what was done before it, and
        its `unproven` lists the messages that may or may not be queued.
        """
        bulk = Batch(batch, on_progress)
        for message in protocol.many(messages):
            if bulk.add(message):
                self._flush(bulk)
        self._flush(bulk)
        return bulk.summary

    def status(self, message_id: str) -> MessageStatus | None:
        """Return where a message stands.

        Returns None if the id is unknown or the message ended more than 72 hours ago. Raises
        StoreUnavailable.
        """
        commands = protocol.status_commands(self._keys, message_id)

        def ask(_failures: int) -> MessageStatus | None:
            answers = execute_together_sync(self._store, commands)
            if campaign := protocol.campaign_to_ask(answers):
                again = protocol.campaign_commands(self._keys, message_id, campaign)
                answers = execute_together_sync(self._store, again, at_once=True)
            return protocol.read_status(message_id, answers)

        return self._until_answered(ask)

    def cancel(self, message_id: str) -> CancelAnswer:
        """Ask to cancel a message that has not been sent, and return what became of it.

        No POST of it begins after this. A worker records the end a little later, but `status` says
        `cancelled` at once, unless an attempt may be at Twilio. Raises StoreUnavailable. It is safe
        to repeat the call.
        """
        asked = [protocol.one_id(message_id)]

        def ask(_failures: int) -> CancelAnswer:
            return protocol.read_cancel(
                protocol.CANCEL.run_sync(self._store, self._meta, asked, replicas=self._replicas)
            )

        return self._until_answered(ask)

    def pause_campaign(
        self, sender: str, campaign: str, lasting: timedelta | None = None
    ) -> CampaignStatus:
        """Send no message of a campaign until it is resumed, or for as long as `lasting`.

        Messages keep their places and expire as usual, and new ones are queued. The call costs the
        same however many are queued. Raises ValueError and StoreUnavailable.
        """
        return self._campaign("pause", sender, campaign, lasting)

    def resume_campaign(self, sender: str, campaign: str) -> CampaignStatus:
        """End the pause of a campaign at once. Raises ValueError and StoreUnavailable."""
        return self._campaign("resume", sender, campaign)

    def cancel_campaign(self, sender: str, campaign: str) -> CampaignStatus:
        """Cancel every message of a campaign that is queued or claimed, as `cancel` does for one.

        A message that is queued later under the same name is not cancelled. The call costs the same
        however many are queued. It is safe to repeat it: then it also cancels what was queued in
        the meantime. Raises ValueError and StoreUnavailable.
        """
        return self._campaign("cancel", sender, campaign)

    def campaign_status(self, sender: str, campaign: str) -> CampaignStatus:
        """Return where a campaign stands. Raises ValueError and StoreUnavailable."""
        return self._campaign("status", sender, campaign)

    def _campaign(
        self, action: str, sender: str, campaign: str, lasting: timedelta | None = None
    ) -> CampaignStatus:
        arguments = protocol.campaign_arguments(action, sender, campaign, lasting)
        replicas = 0 if action == "status" else self._replicas

        def ask(_failures: int) -> CampaignStatus:
            reply = protocol.CAMPAIGN.run_sync(
                self._store, self._meta, arguments, replicas=replicas
            )
            return protocol.read_campaign(arguments, reply)

        return self._until_answered(ask)

    def close(self) -> None:
        """Close the connections to the store."""
        disconnect_sync(self._store)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _flush(self, bulk: Batch) -> None:
        try:
            bulk.settle(self._enqueue(bulk.entries) if bulk.entries else [])
        except (QueueFull, StoreUnavailable) as error:
            error.summary = bulk.summary
            raise

    def _enqueue(self, entries: Sequence[Entry]) -> list[EnqueueResult]:
        arguments = [MAX_MEMORY_PERCENT, *chain.from_iterable(entry.arguments for entry in entries)]

        def ask(failures: int) -> list[EnqueueResult]:
            reply = protocol.ENQUEUE.run_sync(
                self._store, self._meta, arguments, replicas=self._replicas
            )
            results = protocol.read_enqueue(entries, reply)
            # Only a repeat can meet what this call itself queued.
            if not (failures and (found := protocol.duplicates(results))):
                return results
            jobs = execute(self._store, "MGET", *protocol.job_keys(self._keys, found))
            return protocol.recognise(entries, results, found, jobs)

        return self._until_answered(ask, [entry.message for entry in entries])

    def _until_answered(
        self, ask: Callable[[int], _Result], messages: Sequence[SendMessage] = ()
    ) -> _Result:
        """Repeat a call to the store until it is answered or its time is over.

        This is the only place where a producer repeats a call. `ask` gets the number of tries that
        failed, so that it knows whether it is a repeat.
        """
        deadline = RetryDeadline(self._timeout, self._place, messages)
        while True:
            try:
                return ask(deadline.failures)
            except STORE_ERRORS as error:
                failure = error
            time.sleep(deadline.after(failure))
