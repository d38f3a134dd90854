"""Opens a partition of a store for a worker or a gateway, and refuses one that would break a promise."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, Literal, Self

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from sendwindow.connect import checked_partition, connect, disconnect, replicas_asked
from sendwindow.instants import from_ms
from sendwindow.keys import SCHEMA, Keys
from worker.stores.calls import Calls, worker_script
from worker.stores.digests import Digests
from worker.stores.ledger import LedgerStore, Tuning, Worker
from worker.stores.people import PeopleStore
from worker.stores.records import RecordStore
from worker.stores.statuses import StatusStore
from worker.stores.switches import Switches
from worker.stores.unknowns import UnknownStore
from worker.stores.waking import BLOCK_SECONDS, Waker

_OPENING: Final = worker_script("opening")
_OFFSET: Final = worker_script("offset")
_SENDERS: Final = worker_script("senders")
_NOW: Final = worker_script("now")

_WORKER_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MS: Final = timedelta(milliseconds=1)
_LEASE: Final = timedelta(seconds=15)
_TUNING: Final = Tuning()


class StoreRefused(Exception):
    """This store must not be used like this. The text says why and what to do."""


class Store:
    """One partition, opened. Everything stored is reached through its attributes.

    `warnings`: what is wrong with the store but no reason to refuse it.
    """

    def __init__(self, calls: Calls, blocking: Redis, digests: Digests, worker: Worker) -> None:
        self._calls = calls
        self._blocking = blocking
        self._waker = Waker(blocking, calls.keys.wake)
        self.keys = calls.keys
        self.ledger = LedgerStore(calls, digests, self._waker, worker)
        self.people = PeopleStore(calls, digests)
        self.statuses = StatusStore(calls)
        self.unknowns = UnknownStore(calls)
        self.records = RecordStore(calls)
        self.switches = Switches(calls)
        self.warnings: tuple[str, ...] = ()

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        partition: str = "p0",
        person_key: bytes,
        durability: str = "none",
        worker_id: str,
        lease: timedelta = _LEASE,
        profile: Literal["live", "sandbox"] = "live",
        tuning: Tuning = _TUNING,
    ) -> Self:
        """Open a partition.

        Raises StoreRefused for a store that is newer, of another profile, of another person key, or that evicts;
        BadStoreUrl for settings that cannot be read; redis-py's errors when the store does not answer.
        """
        if not _WORKER_ID.fullmatch(worker_id):
            raise StoreRefused("a worker id has 1 to 64 of the characters A-Z a-z 0-9 . _ -; choose another")
        digests = Digests(person_key)
        redis = connect(url, budget=tuning.budget.total_seconds())
        calls = Calls(redis, Keys(checked_partition(partition)), replicas_asked(durability), tuning.budget)
        try:
            warnings = await calls.patiently(lambda: _check_server(redis))
            await _check_meta(calls, digests, profile)
        except BaseException:
            await disconnect(redis)
            raise
        blocking = connect(url, budget=0, timeout=BLOCK_SECONDS + 5, max_connections=2)
        store = cls(calls, blocking, digests, Worker(worker_id, lease, tuning))
        store.warnings = warnings
        return store

    async def close(self) -> None:
        """Close every connection. Nothing is given back: release what is held before."""
        await self._waker.close()
        await disconnect(self._blocking)
        await disconnect(self._calls.redis)

    async def register_senders(self, accounts: Mapping[str, str], templates: Mapping[str, str] | None = None) -> None:
        """Tell the store what names stand for; claims look it up.

        `accounts`: sender → account. `templates`: ContentSid → configured name, under which a template's state is kept.
        """
        pairs = [*sorted(accounts.items()), *sorted((templates or {}).items())]
        if pairs:
            await self._calls.run_durably(_SENDERS, [len(accounts), *(text for pair in pairs for text in pair)])

    async def now(self) -> datetime:
        """Read the store's clock, sandbox offset included."""
        return from_ms(int(await self._calls.run(_NOW, [])))

    async def set_offset(self, offset: timedelta) -> None:
        """Move the store's clock; only a sandbox store allows it. Raises StoreRefused."""
        if not await self._calls.run_durably(_OFFSET, [offset // _MS]):
            raise StoreRefused("only a sandbox store has a clock that moves; give the sandbox a store of its own")

    async def ping(self) -> None:
        """Raise unless the store answers."""
        reply: Any = self._calls.redis.ping()
        await reply

    async def publish_pressure(self) -> int:
        """Measure the store's memory in percent of its limit and publish it for producers; 0 without a limit."""
        memory = await self._calls.redis.info("memory")
        limit = int(memory.get("maxmemory", 0))
        pressure = min(100, int(memory["used_memory"]) * 100 // limit) if limit else 0
        reply: Any = self._calls.redis.hset(self.keys.meta, "pressure", str(pressure))
        await reply
        return pressure


async def _check_server(redis: Redis) -> tuple[str, ...]:
    settings: dict[str, str] = {}
    for name in ("maxmemory-policy", "appendonly"):
        try:
            settings |= await redis.config_get(name)
        except ResponseError:
            # Managed services keep CONFIG for themselves; NOPERM is a ResponseError too.
            continue
    decoded = {_decode(name): _decode(value) for name, value in settings.items()}
    policy = decoded.get("maxmemory-policy", "noeviction")
    if policy != "noeviction":
        raise StoreRefused(
            f"the store evicts keys when it is full (maxmemory-policy {policy}), so messages would be lost; "
            "set maxmemory-policy noeviction"
        )
    if decoded.get("appendonly", "yes") == "no":
        return ("the store has no append-only file: a restart loses messages; set appendonly yes",)
    return ()


async def _check_meta(calls: Calls, digests: Digests, profile: str) -> None:
    schema, kept_profile, fingerprint = await calls.run_durably(_OPENING, [SCHEMA, profile, digests.fingerprint])
    if int(schema) > SCHEMA:
        raise StoreRefused(
            f"the store's layout is number {int(schema)}, this worker knows {SCHEMA}; deploy a newer worker"
        )
    if kept_profile.decode() != profile:
        raise StoreRefused(
            f"the store's profile is {kept_profile.decode()}, this worker's {profile}; give each a store of its own"
        )
    if fingerprint.decode() != digests.fingerprint:
        raise StoreRefused(
            "the store's persons are keyed with another person key, so opt-outs would not be found; "
            "set store.person_key to the one it was created with"
        )


def _decode(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
