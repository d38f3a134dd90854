"""The periodic work of a partition as arq cron jobs on a queue of their own: each runs on one worker of the fleet."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from arq.connections import ArqRedis
from arq.cron import CronJob, cron
from arq.utils import poll
from arq.worker import Worker
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from sendwindow.codec import arq_deserializer
from sendwindow.connect import connect, disconnect
from sendwindow.keys import Keys
from worker import clock
from worker.tasks import end_tasks, see_through

_POLL_SECONDS: Final = 0.5
_JOB_SECONDS: Final = 120
_CLOCK_MOVED_SECONDS: Final = 2.0


class ClockMovedError(Exception):
    """This machine's wall clock was set: arq, which keeps by it when a duty is next due, has to begin anew."""


@dataclass(frozen=True, slots=True)
class Duty:
    """One periodic work. `every`: seconds, a divisor of 60. `work` never raises and skips itself while it runs."""

    name: str
    every: int
    work: Callable[[], Awaitable[None]]


class _Pipeline(Pipeline):
    """Lets go of its connection also when a stop cancels the reset; redis-py keeps it, and complains when dropped.

    The connection itself is closed with its pool.
    """

    async def reset(self) -> None:
        try:
            await super().reset()  # type: ignore[no-untyped-call]  # redis-py 5 has no types here
        finally:
            self.connection = None


class _Pool(ArqRedis):
    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> _Pipeline:  # noqa: FBT001, FBT002  # redis-py's signature
        return _Pipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class _Worker(Worker):
    """Looks at the clock before each look for what is due. Needs no right to INFO, with which arq's own begins."""

    _ahead: float | None = None
    on_beat: Callable[[], None]

    async def main(self) -> None:
        self.ctx["redis"] = self.pool
        async for _ in poll(self.poll_delay_s):
            await self._poll_iteration()
            self.on_beat()

    async def heart_beat(self) -> None:
        ahead = _wall_ahead()
        if self._ahead is None:
            self._ahead = ahead
        elif abs(ahead - self._ahead) > _CLOCK_MOVED_SECONDS:
            raise ClockMovedError
        await super().heart_beat()


async def run_periodic(
    url: str, keys: Keys, duties: tuple[Duty, ...], on_beat: Callable[[], None] = lambda: None
) -> None:
    """Run the duties until cancelled. `on_beat` is called after each look for what is due.

    Raises what arq raises when the store goes away, where its `Worker` ends, and ClockMovedError: whoever calls this
    starts it again.
    """
    store = connect(url, budget=0)
    pool = _Pool(
        store.connection_pool,
        job_serializer=_serialize,
        job_deserializer=arq_deserializer,
        default_queue_name=keys.periodic,
    )
    worker = _Worker(
        queue_name=keys.periodic,
        cron_jobs=[_job(duty, keys) for duty in duties],
        redis_pool=pool,
        handle_signals=False,
        poll_delay=_POLL_SECONDS,
        job_timeout=_JOB_SECONDS,
        keep_result=0,
        retry_jobs=False,
        max_tries=1,
        job_serializer=_serialize,
        job_deserializer=arq_deserializer,
        log_results=False,
    )
    worker.on_beat = on_beat
    try:
        await worker.main()
    finally:
        await see_through(_end(worker, store))


async def _end(worker: Worker, store: Redis) -> None:
    # arq's own close() waits for its jobs and raises their cancellation here.
    await end_tasks(worker.tasks.values())
    await disconnect(store)


def _wall_ahead() -> float:
    return clock.wall_now().timestamp() - clock.monotonic()


def _serialize(value: Mapping[str, Any]) -> bytes:
    """Write what arq keeps of a job. Of an error, which JSON cannot hold, only the class: its text may name persons."""
    return json.dumps(value, default=lambda each: type(each).__name__).encode()


def _job(duty: Duty, keys: Keys) -> CronJob:
    async def run(ctx: dict[Any, Any]) -> None:  # noqa: ARG001 -- arq passes its context by this name
        await duty.work()

    # The name becomes part of a key, so it carries the partition.
    return cron(run, name=f"{keys.tag}{duty.name}", second=set(range(0, 60, duty.every)), keep_result=0)
