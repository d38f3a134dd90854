"""Claims as much as there is room for, hands each message to the pipe, and keeps the leases of what is held."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Final

from worker import clock
from worker.batcher import Batcher
from worker.dispatch.held import Held, Slots
from worker.dispatch.pipe import Pipe
from worker.dispatch.scribe import Reports, Scribe
from worker.dispatch.steady import LAST_SECONDS, Patience
from worker.dispatch.turns import Turns
from worker.ports import Ledger
from worker.tasks import end_tasks
from worker.values.claims import ClaimBatch, Suspects

_CLAIM_LIMIT: Final = 64
_RENEW_LIMIT: Final = 200
_LONGEST_WAIT: Final = 2.0
"""A wake can die with the worker that popped it; after this many seconds one looks anyway."""
_SHORTEST_WAIT: Final = 0.01


class Claimer:
    """Holds messages and carries each through the pipe in a task of its own."""

    def __init__(
        self,
        ledger: Ledger,
        pipe: Pipe,
        slots: Slots,
        *,
        capacity: int,
        patience: Patience,
        scribe: Scribe,
        reports: Reports,
    ) -> None:
        self._ledger = ledger
        self._pipe = pipe
        self._slots = slots
        # Half as many again as can be sent at once: the next batch is here before a slot is free.
        self._most = capacity + max(1, capacity // 2)
        self._least_room = max(1, capacity // 4)
        self._patience = patience
        self._scribe = scribe
        self._meter = reports.meter
        self._log = reports.log
        # By identity: a message may be claimed here again before the answer to its last settlement arrived.
        self._held: set[Held] = set()
        self._cut_off: list[Held] = []
        self._turns = Turns()
        self._tasks: set[asyncio.Task[None]] = set()
        self._releases: Batcher[tuple[str, int], bool] = Batcher(self._release)
        self._stopping = asyncio.Event()
        self._has_room = asyncio.Event()
        self.has_claimed = False

    # -- claiming ------------------------------------------------------------------------------

    async def claim_until_stopped(self) -> None:
        """Claim while there is room and work; a store that is away is waited for, and so is a journal."""
        while not self._stopping.is_set():
            if self._scribe.is_mute:
                await self._patience.insist("journal", self._scribe.catch_up, unless=self._stopping.is_set)
                continue
            room = self._room
            if room == 0:
                await self._wait_for_room()
                continue
            limit = min(room, _CLAIM_LIMIT)
            suspects = Suspects.NEVER if self._held else self._turns.wish(clock.monotonic())
            claim = partial(self._ledger.claim, limit, suspects)
            batch = await self._patience.insist("claim", claim, unless=self._stopping.is_set)
            if batch is None:
                # Its answer is missing, and what it took is held by nobody: asked again, it is answered the same.
                with suppress(Exception):  # the store may be away: then their leases run out
                    async with asyncio.timeout(LAST_SECONDS):
                        unheard = await self._ledger.claim(1)
                        await self._release([(one.message_id, one.fence) for one in unheard.claimed])
                return
            self.has_claimed = True
            self._take(batch, clock.monotonic())
            is_over = self._stopping.is_set() or self._turns.is_on
            if len(batch.claimed) < limit and self._room > 0 and not is_over:
                await self._rest(_wait_seconds(batch))

    @property
    def _room(self) -> int:
        """How many more to hold: none beside a suspect, none while the hands are emptied for one."""
        if self._held and (self._turns.is_on or any(held.claimed.is_suspect for held in self._held)):
            return 0
        room = self._most - len(self._held)
        return room if room >= self._least_room else 0

    async def _wait_for_room(self) -> None:
        self._has_room.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._turns.left(clock.monotonic())):
                await self._has_room.wait()
        self._turns.give_up(clock.monotonic())

    def _take(self, batch: ClaimBatch, read_at: float) -> None:
        if batch.claimed:
            self._scribe.claimed(batch.claimed)
        for message_id in batch.in_unknown_stage:
            self._scribe.unknown_stage(message_id)
        for claimed in batch.claimed:
            held = Held(claimed, batch.now, read_at)
            self._held.add(held)
            task = asyncio.create_task(self._carry(held), name="message")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._turns.heard(batch, read_at)
        self._meter.in_flight(self._slots.used, len(self._held))

    async def _rest(self, seconds: float) -> None:
        """Wait for work, or for the end."""
        waiting = [
            asyncio.create_task(self._ledger.wait_for_work(seconds)),
            asyncio.create_task(self._stopping.wait()),
        ]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end_tasks(waiting)

    async def _carry(self, held: Held) -> None:
        """Take one message through the pipe. What goes wrong here must not stop the others, nor be lost."""
        claimed = held.claimed
        try:
            if not await self._pipe.pass_through(held):
                await self._releases.submit((claimed.message_id, claimed.fence))
        except Exception as error:  # noqa: BLE001 -- left alone its lease runs out: it is taken up again, or is poison
            self._meter.failing("pipe")
            self._log.error("crashed", message_id=claimed.message_id, error=type(error).__name__, at=_place(error))
        finally:
            self._held.discard(held)
            if self._room > 0:
                self._has_room.set()

    async def _release(self, untouched: Sequence[tuple[str, int]]) -> list[bool]:
        stages = await self._ledger.release(untouched)
        for (message_id, _), stage in zip(untouched, stages, strict=True):
            self._scribe.released(message_id, stage)
        return [stage is not None for stage in stages]

    # -- leases --------------------------------------------------------------------------------

    async def renew(self) -> None:
        """Renew the lease of everything held. Raises what the store raises."""
        latest = {one.claimed.message_id: one for one in sorted(self._held, key=lambda one: one.claimed.fence)}
        held = list(latest.values())
        self._meter.in_flight(self._slots.used, len(held))
        for start in range(0, len(held), _RENEW_LIMIT):
            part = held[start : start + _RENEW_LIMIT]
            lost = set(await self._ledger.renew([(one.claimed.message_id, one.claimed.fence) for one in part]))
            for one in part:
                if one.claimed.message_id in lost and not one.is_recording and not one.is_lost:
                    one.is_lost = True
                    self._scribe.lost(one.claimed.message_id)

    # -- stopping ------------------------------------------------------------------------------

    def stop(self) -> None:
        """Claim nothing more, and give back what has no slot yet."""
        self._stopping.set()
        self._slots.close()
        self._has_room.set()

    async def finish(self, grace: float, hurry: asyncio.Event) -> None:
        """Let what has a slot come to its end, for `grace` seconds or until `hurry`; then leave it to its intent.

        What has none yet is given back: being stopped is no crash.
        """
        hurried = asyncio.create_task(hurry.wait())
        finished = asyncio.create_task(_all_done(self._tasks))
        try:
            await asyncio.wait({finished, hurried}, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
        finally:
            left, self._cut_off = [*self._tasks], [*self._held]
            await end_tasks((finished, hurried, *left))
        if left:
            self._log.warning("stopped_early", messages=len(left))

    async def give_back(self) -> None:
        """Give back what `finish` cut off without an attempt; once nothing of it is on its way to the store."""
        if untouched := [(one.claimed.message_id, one.claimed.fence) for one in self._cut_off]:
            with suppress(Exception):  # the store may be away: then their leases run out
                async with asyncio.timeout(LAST_SECONDS):
                    await self._release(untouched)


async def _all_done(tasks: set[asyncio.Task[None]]) -> None:
    while tasks:
        await asyncio.wait(set(tasks))


def _wait_seconds(batch: ClaimBatch) -> float:
    if batch.next_due_at is None:
        return _LONGEST_WAIT
    due = (batch.next_due_at - batch.now) / timedelta(seconds=1)
    return min(_LONGEST_WAIT, max(due, 0.0 if batch.claimed else _SHORTEST_WAIT))


def _place(error: BaseException) -> str:
    """Where an error came from. Its text stays out of logs: it may hold what a person wrote."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}" if trace is not None else "unknown"
