"""Plays the script.

It moves the clock, lets people act, enqueues messages, and waits until everything due has come out.
"""

import asyncio
import pickle  # noqa: TID251 -- writes the one pickled job, which no worker may open
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from sendwindow.errors import IdConflict, InvalidMessage
from sendwindow.vocabulary import DISPATCH_ENDS
from sendwindow.vocabulary import Stage as MessageStage
from worker.cli.consent import ConsentStatement, read_entry
from worker.cli.demo.board import Board
from worker.cli.demo.demo_processes import HANG_SECONDS, DemoProcesses
from worker.cli.demo.demo_script import Act, DemoScript, ScriptRow
from worker.cli.exit_codes import CommandError, Exit
from worker.cli.journal_option import write_accepted, write_consent
from worker.runtime.clock import monotonic
from worker.telemetry.journal import Journal

if TYPE_CHECKING:
    from sendwindow.contract import SendMessage
    from sendwindow.producer import Producer
    from sendwindow.results import MessageStatus, Receipt
    from worker.settings.settings import Settings
    from worker.stores.store import Store

_POLL_SECONDS: Final = 0.03
_STUCK_SECONDS: Final = 20.0
"""Seconds. If nothing has moved for so long, what is not as expected by now never will be."""

_STUCK_AGAIN_SECONDS: Final = 3.0
"""The same after something was given up, so that the rest is shown soon."""

_FINAL: Final = DISPATCH_ENDS - {MessageStage.ACCEPTED}
"""A message does not leave these by itself, whatever is expected."""

_MOVING: Final = frozenset({MessageStage.CLAIMED, MessageStage.POSTING})


@dataclass(slots=True)
class Result:
    """What became of a row. `end` and `reason` are named as in the expectations."""

    end: str
    reason: str | None = None
    status: str | None = None


@dataclass(slots=True)
class Player:
    """Plays one script on one stage. `results`: by row number."""

    stage: DemoProcesses
    script: DemoScript
    settings: "Settings"
    store: "Store"
    producer: "Producer"
    journal: Journal
    board: Board
    start: datetime
    results: dict[int, Result] = field(default_factory=dict)
    _open: dict[int, ScriptRow] = field(default_factory=dict)
    _patience: float = _STUCK_SECONDS

    async def play(self) -> None:
        """Play every step in order. Raises CommandError when the stage fails."""
        for minute in self.script.steps:
            await self._move_clock(minute)
            self.board.step(minute)
            for act in self.script.acts:
                if act.at == minute:
                    await self._act(act)
            await self._queue([row for row in self.script.rows if row.at == minute], minute)
            for row in self.script.rows:
                if row.cancel_at == minute:
                    await self._cancel(row)
            await self._wait(minute)

    async def _move_clock(self, minute: int) -> None:
        offset = timedelta(minutes=minute)
        # The provider's clock first: nothing is under way, and what falls due then must not seem
        # early.
        await self.stage.sandbox("clock", {"offset_ms": offset // timedelta(milliseconds=1)})
        await self.store.set_offset(offset)

    async def _act(self, act: Act) -> None:
        if act.writes is not None:
            sender = self.settings.senders.get(act.writes)
            if sender is None:
                raise CommandError(
                    f"people.jsonl: {act.who} writes to {act.writes}, which the settings do not "
                    "name.",
                    "Name a sender of sendwindow.toml.",
                    Exit.USAGE,
                )
            said = await self.stage.sandbox(
                "say", {"from": act.address, "to": sender.address, "body": act.body}
            )
            if not 200 <= (said.get("http") or 0) < 300:
                raise CommandError(
                    f"The gateway answered {said.get('http')} to what {act.who} "
                    f"wrote.\n{self.stage.last_words()}"
                )
            self.board.say(f"{act.who} writes: {act.body}")
        for purpose in act.consent:
            expires = None
            if act.consent_minutes is not None:
                expires = self.start + timedelta(minutes=act.at + act.consent_minutes)
            options = {
                "purpose": purpose,
                "account": act.account,
                "source": "demo",
                "expires": expires,
            }
            address, entry = read_entry(
                self.settings, ConsentStatement(act.address, options), granted=True
            )
            asked_at = self.journal.now()
            await self.store.people.record_consent(address, entry)
            write_consent(self.journal, entry, self.store.people.digest(address), asked_at)
        if act.account_update is not None:
            await self.stage.sandbox("settings", {"account_update": act.account_update})
            self.board.say(f"from now on ACCOUNT_UPDATE is {act.account_update} at Meta")
        if act.workers is not None:
            await self.stage.start_workers(act.workers)
            self.board.say("new workers: " + ", ".join(act.workers))

    async def _queue(self, rows: Iterable[ScriptRow], minute: int) -> None:
        rows = list(rows)
        rules = [{**row.fault, "match": {"id": row.name}} for row in rows if row.fault is not None]
        if rules:
            await self.stage.sandbox("faults", {"rules": rules})
        for row in rows:
            result = await self._queue_one(row)
            if result is None:
                self._open[row.number] = row
            else:
                self.results[row.number] = result
                self.board.done(minute, row, result)

    async def _queue_one(self, row: ScriptRow) -> Result | None:
        """Enqueue one row. Returns a result if it never became a message of its own."""
        from sendwindow.contract import SendMessage
        from sendwindow.results import Receipt

        if row.via in _VIAS:
            await _VIAS[row.via](self, row)
            if row.expect.reason != "unreadable":
                # The promises apply once a worker adopts the job, and an unreadable job is never
                # adopted.
                receipt = Receipt(row.name, duplicate=False, enqueued_at=await self.store.now())
                self._accepted(SendMessage(**row.fields(self.start)), receipt)
            return None
        try:
            fields = row.fields(self.start)
            message = (
                SendMessage.model_validate_json(row.line)
                if row.line is not None
                else SendMessage(**fields)
            )
            receipt = await self.producer.send(message)
        except InvalidMessage as error:
            return Result("invalid", error.faults[0].field.partition(".")[0])
        except IdConflict:
            return Result("conflict")
        self._accepted(message, receipt)
        return Result("duplicate") if receipt.duplicate else None

    def _accepted(self, message: "SendMessage", receipt: "Receipt") -> None:
        write_accepted(
            self.journal, message, self.settings, self.store.people.digest(message.to), receipt
        )

    async def by_sync_producer(self, row: ScriptRow) -> None:
        """Enqueue the row from a thread without an event loop."""
        from sendwindow.contract import SendMessage
        from sendwindow.sync import Producer as SyncProducer

        def send() -> None:
            with SyncProducer(
                self.settings.store.url or "", self.settings.store.partition
            ) as producer:
                producer.send(SendMessage(**row.fields(self.start)))

        await asyncio.to_thread(send)

    async def by_arq(self, row: ScriptRow) -> None:
        """Enqueue the row with nothing but arq and the documented serializer."""
        from sendwindow.codec import arq_serializer

        await self._enqueue_with_arq(row, arq_serializer)

    async def by_pickling_arq(self, row: ScriptRow) -> None:
        """Enqueue the row with an arq that pickles, as arq does by default."""
        await self._enqueue_with_arq(row, pickle.dumps)

    async def _enqueue_with_arq(self, row: ScriptRow, serializer: Any) -> None:
        from arq import create_pool
        from arq.connections import RedisSettings

        tag = "{" + self.settings.store.partition + "}"
        pool = await create_pool(
            RedisSettings.from_dsn(self.settings.store.url or ""),
            job_serializer=serializer,
            default_queue_name=f"arq:{tag}:queue",
        )
        try:
            await pool.enqueue_job(
                "send_message", row.fields(self.start), _job_id=f"{tag}{row.name}"
            )
        finally:
            await pool.aclose()

    async def _cancel(self, row: ScriptRow) -> None:
        from sendwindow.results import CancelAnswer

        if await self.producer.cancel(row.name) is CancelAnswer.CANCELLED:
            self.journal.write(
                "ended", id=row.name, stage="cancelled", reason="cancelled", code=None
            )

    async def _wait(self, minute: int) -> None:
        """Wait until everything due has come out as expected and nothing moves.

        Gives up when nothing has moved for a long time.
        """
        deadline, changed_at = monotonic() + HANG_SECONDS, monotonic()
        before: dict[int, object] = {}
        while True:
            self.stage.check()
            seen = {
                number: await self.producer.status(row.name) for number, row in self._open.items()
            }
            if seen != before:
                before, changed_at = dict(seen), monotonic()
            busy = self._take_finished(seen, minute)
            if not busy and (await self.stage.sandbox("stats"))["callbacks_pending"] == 0:
                return
            if monotonic() - changed_at > self._patience or monotonic() > deadline:
                self._give_up(seen, minute)
                return
            await asyncio.sleep(_POLL_SECONDS)

    def _take_finished(self, seen: "dict[int, MessageStatus | None]", minute: int) -> bool:
        """Record the rows that came out as expected.

        Returns whether this step still expects anything.
        """
        busy = False
        for number, row in list(self._open.items()):
            status = seen[number]
            result = result_of(status)
            if row.settles_at > minute:
                busy = busy or status is None or self._is_moving(row, status, minute)
            elif _is_unrecorded(status):
                busy = True
            elif result is not None and (matches(row, result) or result.end in _FINAL):
                self._finish(row, result, minute)
            else:
                busy = True
        return busy

    def _is_moving(self, row: ScriptRow, status: "MessageStatus", minute: int) -> bool:
        if status.stage is not MessageStage.QUEUED or row.stays_queued:
            return status.stage in _MOVING
        not_before = row.fields(self.start).get("not_before")
        return not_before is None or datetime.fromisoformat(not_before) <= self.start + timedelta(
            minutes=minute
        )

    def _give_up(self, seen: "dict[int, MessageStatus | None]", minute: int) -> None:
        self._patience = _STUCK_AGAIN_SECONDS
        for number, row in list(self._open.items()):
            if row.settles_at <= minute:
                self._finish(row, result_of(seen[number]) or Result("lost"), minute)

    def _finish(self, row: ScriptRow, result: Result, minute: int) -> None:
        del self._open[row.number]
        self.results[row.number] = result
        self.board.done(minute, row, result)


def _is_unrecorded(status: "MessageStatus | None") -> bool:
    """Return whether a message counts as cancelled and no worker has recorded that end yet.

    The clock must not move before that: a worker may claim the message once it is due.
    """
    return status is not None and status.is_end and status.ended_at is None


_VIAS: Final = {
    "sync": Player.by_sync_producer,
    "arq": Player.by_arq,
    "arq_pickle": Player.by_pickling_arq,
}


def result_of(status: "MessageStatus | None") -> Result | None:
    """Return a message's state in the words of the expectations.

    The provider's status counts only for accepted messages.
    """
    if status is None:
        return None
    accepted = status.stage is MessageStage.ACCEPTED
    return Result(status.stage.value, status.reason, status.status if accepted else None)


def matches(row: ScriptRow, result: Result) -> bool:
    """Return whether a result is what the row expects, as far as the store shows it."""
    expect = row.expect
    return (
        result.end == expect.end
        and expect.reason in (None, result.reason)
        and expect.status in (None, result.status)
    )
