"""The periodic work of a partition, as arq cron jobs on a queue of their own.

Each job runs on one worker of the partition.
"""

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
from worker.runtime import clock
from worker.runtime.cancellation import end_tasks, see_through

_POLL_SECONDS: Final = 0.5
_JOB_SECONDS: Final = 120
_CLOCK_MOVED_SECONDS: Final = 2.0


class ClockMovedError(Exception):
    """The wall clock of this machine was set.

    arq computes from it when a job is due next, so its worker has to start again.
    """


@dataclass(frozen=True, slots=True)
class PeriodicJob:
    """One kind of periodic work.

    `every`: seconds, a divisor of 60. `work` never raises, and skips a run while the last one is
    still under way.
    """

    name: str
    every: int
    work: Callable[[], Awaitable[None]]


class _Pipeline(Pipeline):
    """Drops its connection even when a stop cancels the reset.

    redis-py's own class keeps the connection then, and complains when it is garbage collected. The
    pool closes the connection.
    """

    async def reset(self) -> None:
        try:
            await super().reset()  # type: ignore[no-untyped-call]  # redis-py 5 has no types here
        finally:
            self.connection = None


class _ArqPool(ArqRedis):
    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> _Pipeline:  # noqa: FBT001, FBT002  # redis-py's signature
        return _Pipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class _Worker(Worker):
    """Checks the wall clock before each look for due jobs.

    arq's own `main` begins with INFO, which this worker may have no permission for.
    """

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


async def run_cron_jobs(
    url: str, keys: Keys, jobs: tuple[PeriodicJob, ...], on_beat: Callable[[], None] = lambda: None
) -> None:
    """Run the jobs until cancelled. `on_beat` is called after each look for due jobs.

    Raises ClockMovedError, and what arq raises when the store goes away, because that ends arq's
    `Worker`. The caller starts it again.
    """
    store = connect(url)
    pool = _ArqPool(
        store.connection_pool,
        job_serializer=_serialize,
        job_deserializer=arq_deserializer,
        default_queue_name=keys.periodic,
    )
    worker = _Worker(
        queue_name=keys.periodic,
        cron_jobs=[_job(job, keys) for job in jobs],
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
    """Return in JSON what arq stores about a job.

    JSON cannot hold an error. Only its class is written, because its text may name persons.
    """
    return json.dumps(value, default=lambda each: type(each).__name__).encode()


def _job(job: PeriodicJob, keys: Keys) -> CronJob:
    async def run(ctx: dict[Any, Any]) -> None:  # noqa: ARG001 -- arq passes its context by this name
        await job.work()

    # The name becomes part of a key, so it includes the partition.
    return cron(
        run, name=f"{keys.tag}{job.name}", second=set(range(0, 60, job.every)), keep_result=0
    )
