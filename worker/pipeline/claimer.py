"""Claims as many messages as there is room for, starts the pipeline for each, and renews leases."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Final

from worker.pipeline.attempt import InFlightMessage
from worker.pipeline.pipeline import Pipeline
from worker.pipeline.recorder import Observers, Recorder
from worker.pipeline.shares import Shares
from worker.pipeline.slots import Slots
from worker.pipeline.store_retry import LAST_SECONDS, StoreRetry
from worker.pipeline.suspect_isolation import SuspectIsolation
from worker.ports.claims import ClaimBatch, ClaimedMessage, Suspects
from worker.ports.ledger import Ledger
from worker.ports.processes import Holdings
from worker.runtime import clock
from worker.runtime.batcher import Batcher
from worker.runtime.cancellation import end_tasks

_MAX_CLAIMED_MESSAGES: Final = 64
_MAX_RENEWED_MESSAGES: Final = 200
_MAX_WAIT_SECONDS: Final = 2.0
"""A wake-up can be lost with the worker that took it, so every worker claims again after this."""
_MIN_WAIT_SECONDS: Final = 0.01


class Claimer:
    """Claims messages, and runs the pipeline for each in a task of its own."""

    def __init__(
        self,
        ledger: Ledger,
        pipeline: Pipeline,
        slots: Slots,
        *,
        held: Shares,
        capacity: int,
        store_retry: StoreRetry,
        recorder: Recorder,
        observers: Observers,
    ) -> None:
        self._ledger = ledger
        self._pipeline = pipeline
        self._slots = slots
        self._held = held
        self._max_in_flight = max_in_flight(capacity)
        self._breaker = pipeline.breaker
        self._min_room = max(1, capacity // 4)
        self._store_retry = store_retry
        self._recorder = recorder
        self._metrics = observers.metrics
        self._log = observers.log
        # Compared by identity, because this worker may claim a message again before the reply to
        # its last settlement arrives.
        self._in_flight: set[InFlightMessage] = set()
        self._cut_off: list[InFlightMessage] = []
        self._try: InFlightMessage | None = None
        self._isolation = SuspectIsolation()
        self._tasks: set[asyncio.Task[None]] = set()
        self._releases: Batcher[tuple[str, int], bool] = Batcher(self._release)
        self._stopping = asyncio.Event()
        self._waiting: asyncio.Task[bool] | None = None
        self._has_passed_over = False
        self._ended = 0
        self._has_room = asyncio.Event()
        self.has_claimed = False

    # -- claiming --------------------------------------------------------------------------------

    async def claim_until_stopped(self) -> None:
        """Claim while there is room and work. Waits while Redis or the journal is unavailable."""
        while not self._stopping.is_set():
            if self._recorder.cannot_write:
                await self._store_retry.keep_trying(
                    "journal", self._recorder.catch_up, unless=self._stopping.is_set
                )
                continue
            room = self._room
            if room == 0:
                await self._wait_for_room()
                continue
            limit = min(room, _MAX_CLAIMED_MESSAGES)
            self._ended = 0
            batch = await self._claim(limit)
            if batch is None:
                await self._release_unheard_claim()
                return
            self.has_claimed = True
            self._start(batch, clock.monotonic())
            is_over = self._stopping.is_set() or self._isolation.is_on
            is_full = len(batch.claimed) == limit
            self._has_passed_over = batch.passed_over and not is_full
            if is_full or self._room == 0 or is_over:
                continue
            if not (self._has_passed_over and self._has_place_again):
                await self._wait_for_work(_wait_seconds(batch))

    async def _claim(self, limit: int) -> ClaimBatch | None:
        """Claim until Redis replies. Returns None when the worker was stopped in the meantime."""
        suspects = Suspects.NEVER
        if not self._in_flight:
            suspects = self._isolation.suspects_to_claim(clock.monotonic())
        claim = partial(self._ledger.claim, limit, suspects, self._held.room)
        tried = await self._store_retry.keep_trying("claim", claim, unless=self._stopping.is_set)
        return None if tried is None else tried.answer

    async def _release_unheard_claim(self) -> None:
        """Release the messages of a claim whose reply was lost.

        We may hold leases on messages that we never saw. A repeated claim returns the same batch.
        """
        claim = partial(self._ledger.claim, 1)
        with suppress(TimeoutError):  # Redis is down. The leases then run out.
            async with asyncio.timeout(LAST_SECONDS):
                if (tried := await self._store_retry.keep_trying("claim", claim)) is not None:
                    await self._release_at_last(_leases(tried.answer.claimed))

    @property
    def _room(self) -> int:
        """How many more messages to claim: none next to a suspect, none while draining for one.

        A few places that became free are no reason to claim, because each claim costs the store.
        But places that the last claim left for others may be wanted at any time.
        While the worker cannot reach Twilio, it claims one message, and waits until that is over.
        """
        if self._in_flight and (self._isolation.is_on or self._isolation.has_claimed_suspect):
            return 0
        room = self._max_in_flight - len(self._in_flight)
        if self._breaker.is_open:
            is_trying = self._try in self._in_flight
            return 0 if is_trying else min(room, self._breaker.room(clock.monotonic()))
        return room if room >= self._min_room or self._has_passed_over else 0

    @property
    def _has_place_again(self) -> bool:
        """Whether enough has ended since the last claim for what that claim passed over."""
        return self._ended >= self._min_room or not self._in_flight

    async def _wait_for_room(self) -> None:
        self._has_room.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._seconds_without_room()):
                await self._has_room.wait()
        self._isolation.expire(clock.monotonic())

    def _seconds_without_room(self) -> float | None:
        """Return after which time there may be room although no message ended. None: never."""
        now = clock.monotonic()
        left = (self._isolation.seconds_left(now), self._breaker.seconds_left(now))
        return min((seconds for seconds in left if seconds is not None), default=None)

    async def _wait_for_work(self, seconds: float) -> None:
        """Wait until a lane has work, the time is over, or `stop` cancels the wait."""
        self._waiting = asyncio.create_task(self._ledger.wait_for_work(seconds))
        try:
            await asyncio.wait({self._waiting})
        finally:
            self._waiting.cancel()

    @property
    def holds(self) -> Holdings:
        """The messages under this worker's lease, and its open POSTs."""
        return Holdings(messages=len(self._in_flight), posts=self._slots.used)

    # -- running the pipeline --------------------------------------------------------------------

    def _start(self, batch: ClaimBatch, read_at: float) -> None:
        for claimed in batch.claimed:
            in_flight = InFlightMessage(claimed, batch.now, read_at)
            self._in_flight.add(in_flight)
            self._held.take(claimed.owner)
            if self._breaker.is_open:
                self._try = in_flight
            task = asyncio.create_task(self._process(in_flight), name="message")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._isolation.observe(batch, read_at)
        self._recorder.claimed(batch, open_posts=self._slots.used, held=len(self._in_flight))

    async def _process(self, in_flight: InFlightMessage) -> None:
        """Run the pipeline for one message. A failure does not stop the others or lose it."""
        claimed = in_flight.claimed
        try:
            if not await self._pipeline.process(in_flight):
                await self._release_unused(in_flight)
        except Exception as error:  # noqa: BLE001 -- its lease runs out: it is claimed again, or it is poison
            self._metrics.failing("pipeline")
            self._log.error(
                "crashed",
                message_id=claimed.message_id,
                error=type(error).__name__,
                at=_place(error),
            )
        finally:
            self._in_flight.discard(in_flight)
            self._held.give(claimed.owner)
            self._ended += 1
            if self._has_passed_over and self._has_place_again and self._waiting is not None:
                self._waiting.cancel()
            # While the breaker is open, there is room later, so the claimer waits for that time.
            if self._breaker.is_open or self._room > 0:
                self._has_room.set()

    async def _release_unused(self, in_flight: InFlightMessage) -> None:
        """Release a message until Redis replies, or until the lease is lost."""
        [lease] = _leases([in_flight.claimed])
        await self._store_retry.keep_trying(
            "release", partial(self._releases.submit, lease), unless=lambda: in_flight.is_lost
        )

    async def _release_at_last(self, claims: Sequence[tuple[str, int]]) -> None:
        """Release claims in the last moment of this worker.

        If Redis stays down until then, their leases run out.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_SECONDS):
                await self._store_retry.keep_trying("release", partial(self._release, claims))

    async def _release(self, claims: Sequence[tuple[str, int]]) -> list[bool]:
        stages = await self._ledger.release(claims)
        for (message_id, _), stage in zip(claims, stages, strict=True):
            self._recorder.released(message_id, stage)
        return [stage is not None for stage in stages]

    # -- leases ----------------------------------------------------------------------------------

    async def renew(self) -> None:
        """Renew the lease of every message in flight. Raises what the store raises."""
        by_fence = sorted(self._in_flight, key=lambda one: one.claimed.fence)
        latest = list({one.claimed.message_id: one for one in by_fence}.values())
        self._metrics.in_flight(self._slots.used, len(latest))
        for start in range(0, len(latest), _MAX_RENEWED_MESSAGES):
            part = latest[start : start + _MAX_RENEWED_MESSAGES]
            leases = _leases([one.claimed for one in part])
            lost = set(await self._ledger.renew(leases))
            for one in part:
                is_lost = one.claimed.message_id in lost
                if is_lost and not one.is_recording and not one.is_lost:
                    one.is_lost = True
                    self._recorder.lost(one.claimed.message_id)

    # -- stopping --------------------------------------------------------------------------------

    def stop(self) -> None:
        """Stop claiming, and release the messages that have no slot yet."""
        self._stopping.set()
        if self._waiting is not None:
            self._waiting.cancel()
        self._slots.close()
        self._has_room.set()

    async def finish(self, grace: float, hurry: asyncio.Event) -> None:
        """Wait until the messages that have a slot finish, for `grace` seconds or until `hurry`.

        After that, cut off the attempts that are left. Their intents stay in Redis.
        """
        hurried = asyncio.create_task(hurry.wait())
        finished = asyncio.create_task(_all_done(self._tasks))
        try:
            await asyncio.wait(
                {finished, hurried}, timeout=grace, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            left, self._cut_off = [*self._tasks], [*self._in_flight]
            await end_tasks((finished, hurried, *left))
        if left:
            self._log.warning("stopped_early", messages=len(left))

    async def release_unstarted(self) -> None:
        """Release the messages that `finish` cut off before their attempt.

        Call it when nothing about those messages is on its way to Redis any more.
        """
        if self._cut_off:
            await self._release_at_last(_leases([one.claimed for one in self._cut_off]))


def max_in_flight(capacity: int) -> int:
    """Return how many messages a worker holds: half as many again as it can send at once.

    So the next messages are here before a slot becomes free.
    """
    return capacity + max(1, capacity // 2)


async def _all_done(tasks: set[asyncio.Task[None]]) -> None:
    while tasks:
        await asyncio.wait(set(tasks))


def _leases(messages: Sequence[ClaimedMessage]) -> list[tuple[str, int]]:
    """Return the message id and the fence of each message."""
    return [(one.message_id, one.fence) for one in messages]


def _wait_seconds(batch: ClaimBatch) -> float:
    if batch.next_due_at is None:
        return _MAX_WAIT_SECONDS
    due = (batch.next_due_at - batch.now) / timedelta(seconds=1)
    return min(_MAX_WAIT_SECONDS, max(due, 0.0 if batch.claimed else _MIN_WAIT_SECONDS))


def _place(error: BaseException) -> str:
    """Return where an error was raised.

    The error's text may hold what a person wrote, so it is not logged.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "unknown"
    return f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}"
