"""Opens a partition of a store for a worker or a gateway, and refuses one that would break a promise."""

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, Literal, Self

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, ResponseError

from sendwindow.connect import checked_partition, connect, disconnect, replicas_asked
from sendwindow.instants import from_ms
from sendwindow.keys import SCHEMA, Keys, knows_layout
from sendwindow.scripts import Argument, execute
from worker.stores.calls import Calls, worker_script
from worker.stores.digests import Digests
from worker.stores.encoding import flat
from worker.stores.held import HeldStore
from worker.stores.ledger import LedgerStore, Tuning, Worker
from worker.stores.listening import ListeningStore
from worker.stores.names import NameStore
from worker.stores.people import PeopleStore
from worker.stores.processes import ProcessStore
from worker.stores.records import RecordStore
from worker.stores.restored import RestoredStore
from worker.stores.statuses import StatusStore
from worker.stores.switches import Switches
from worker.stores.unknowns import UnknownStore
from worker.stores.waking import BLOCK_SECONDS, Waker

_OPENING: Final = worker_script("opening")
_OFFSET: Final = worker_script("offset")
_SENDERS: Final = worker_script("senders")
_NOW: Final = worker_script("now")
_PRESSURE: Final = worker_script("pressure")

_WORKER_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MS: Final = timedelta(milliseconds=1)
_LEASE: Final = timedelta(seconds=15)
_TUNING: Final = Tuning()
_NONE: Final[Mapping[Any, str]] = MappingProxyType({})
_OWN_BUDGET: Final = 0.5
"""redis-py's own, enough to ask once more where `Calls.patiently` is not used; with more, a store that hangs is noticed
only after half a minute, since each try takes until its timeout."""


_OTHER_PROFILE: Final = {
    "sandbox": "the store's profile is sandbox: it was made with sandbox settings (a base_url of this machine or "
    "network), and these are live ones, or name no account; give each a store of its own, or is SENDWINDOW_CONFIG not "
    "set?",
    "live": "the store's profile is live, and these are sandbox settings (a base_url of this machine or network); "
    "give each a store of its own, or is SENDWINDOW_CONFIG not set?",
}


class StoreRefused(Exception):
    """This store must not be used like this. The text says why and what to do."""


class StoreTroubleError(Exception):
    """The store cannot be used now. The text names the store, the server's word and the remedy, and no secret."""


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
        self.held = HeldStore(calls)
        self.names = NameStore(calls)
        self.processes = ProcessStore(calls, worker.name)
        self.listening = ListeningStore(calls)
        self.restored = RestoredStore(calls, digests)
        self.warnings: tuple[str, ...] = ()

    @classmethod
    async def connect(  # noqa: PLR0913 -- each of them is a choice of its own, named by who opens
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
        reading: bool = False,
    ) -> Self:
        """Open a partition. `reading`: a new store stays empty, so that it is nobody's yet.

        Raises StoreRefused for a store that is newer, of another profile, of another person key, or that evicts;
        BadStoreUrl for settings that cannot be read; redis-py's errors when the store does not answer.
        """
        if not _WORKER_ID.fullmatch(worker_id):
            raise StoreRefused("a worker id has 1 to 64 of the characters A-Z a-z 0-9 . _ -; choose another")
        digests = Digests(person_key)
        redis = connect(url, budget=_OWN_BUDGET)
        calls = Calls(redis, Keys(checked_partition(partition)), replicas_asked(durability), tuning.budget)
        try:
            warnings = await calls.patiently(lambda: _check_server(redis))
            await _check_meta(calls, digests, profile, reading=reading)
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

    async def register_senders(
        self,
        accounts: Mapping[str, str],
        contents: Mapping[tuple[str, str], str] = _NONE,
        *,
        services: Mapping[str, str] = _NONE,
        overwrite: bool = True,
    ) -> None:
        """Tell the store what names stand for; claims look it up.

        `accounts`: sender → account. `services`: sender → messaging service, of those that are in one.
        `contents`: (template, language or "") → the ContentSid it is sent by.
        `overwrite` False: what names stand for already stays; that they are known here is noted all the same.
        """
        senders = [(name, account, services.get(name, "")) for name, account in sorted(accounts.items())]
        templates = [("|".join(name), content_sid) for name, content_sid in sorted(contents.items())]
        if senders or templates:
            await self._calls.run_durably(
                _SENDERS, [len(senders), "1" if overwrite else "", *flat([*senders, *templates])]
            )

    async def now(self) -> datetime:
        """Read the store's clock, sandbox offset included."""
        return from_ms(int(await self._calls.run(_NOW, [])))

    async def set_offset(self, offset: timedelta) -> None:
        """Move the store's clock; only a sandbox store allows it. Raises StoreRefused."""
        if not await self._calls.run_durably(_OFFSET, [offset // _MS]):
            raise StoreRefused("only a sandbox store has a clock that moves; give the sandbox a store of its own")

    async def ping(self) -> None:
        """Raise unless the store answers."""
        await self._ask("PING")

    async def pressure(self) -> int | None:
        """Measure the store's memory in percent of its limit; 0 without a limit, None where INFO is denied."""
        try:
            memory = await self._ask("INFO", "memory")
        except NoPermissionError:
            return None
        limit = int(memory.get("maxmemory", 0))
        return min(100, int(memory["used_memory"]) * 100 // limit) if limit else 0

    async def publish_pressure(self) -> int | None:
        """Measure the store's memory and tell producers how full it is; None where INFO is denied."""
        pressure = await self.pressure()
        if pressure is not None:
            await self._calls.run(_PRESSURE, [pressure])
        return pressure

    async def _ask(self, *command: Argument) -> Any:
        return await self._calls.patiently(lambda: execute(self._calls.redis, *command))


async def _check_server(redis: Redis) -> tuple[str, ...]:
    """Refuse a store that evicts. Returns warnings: no append-only file, or what this user may not look at."""
    policy = await _server_setting(redis, "memory", "maxmemory_policy", "maxmemory-policy")
    if policy not in {None, "noeviction"}:
        raise StoreRefused(
            f"the store evicts keys when it is full (maxmemory-policy {policy}), so messages would be lost; "
            "set maxmemory-policy noeviction"
        )
    appends = await _server_setting(redis, "persistence", "aof_enabled", "appendonly")
    warnings = []
    if appends in {"no", "0"}:
        warnings.append("the store has no append-only file: a restart loses messages; set appendonly yes")
    unseen = [name for name, found in (("maxmemory-policy", policy), ("appendonly", appends)) if found is None]
    if unseen:
        warnings.append(
            f"{' and '.join(unseen)} could not be checked: this user may use neither INFO nor CONFIG GET; "
            "grant +info, or make sure of noeviction and an append-only file yourself"
        )
    return tuple(warnings)


async def _server_setting(redis: Redis, section: str, field: str, name: str) -> str | None:
    """Read a setting of the server from INFO, else by CONFIG GET; None where both are denied or tell nothing.

    Managed services keep CONFIG for themselves, and a renamed command is an error like a denied one.
    """
    found: Any = None
    with suppress(ResponseError):
        found = (await execute(redis, "INFO", section)).get(field)
    if found is None:
        with suppress(ResponseError):
            kept = await redis.config_get(name)
            found = next((value for key, value in kept.items() if _decode(key) == name), None)
    return None if found is None else _decode(found)


async def _check_meta(calls: Calls, digests: Digests, profile: str, *, reading: bool) -> None:
    own = (str(SCHEMA), profile, digests.fingerprint)
    if reading:
        ask = ("HMGET", calls.keys.meta, "schema", "profile", "person_key")
        kept = await calls.patiently(lambda: execute(calls.redis, *ask))
    else:
        kept = await calls.run_durably(_OPENING, own)
    schema, kept_profile, fingerprint = (
        mine if found is None else found.decode() for mine, found in zip(own, kept, strict=True)
    )
    if not knows_layout(schema):
        raise StoreRefused(
            f"this worker knows the store's layout {SCHEMA} only, and the store has another one; deploy a newer worker"
        )
    if kept_profile != profile:
        raise StoreRefused(_OTHER_PROFILE[kept_profile])
    if fingerprint != digests.fingerprint:
        raise StoreRefused(
            "the store's persons are keyed with another person key, so opt-outs would not be found; "
            "set store.person_key to the one it was created with"
        )


def _decode(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
