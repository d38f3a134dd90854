"""Opens a partition of a store for a worker or a gateway.

It refuses a store that would break one of Sendwindow's guarantees.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, Literal, Self

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, ResponseError

from policies.rate_limits import Pace
from sendwindow.connect import checked_partition, connect, disconnect, replicas_asked
from sendwindow.keys import SCHEMA, Keys, knows_layout
from sendwindow.scripts import Argument, execute
from sendwindow.timestamps import from_ms
from worker.stores.breakers import BreakerStore
from worker.stores.held_effects import HeldStore
from worker.stores.inbound_coverage import InboundCoverageStore
from worker.stores.lane_states import LaneStates
from worker.stores.ledger import LedgerStore, Tuning, Worker
from worker.stores.notifier import BLOCK_SECONDS, WorkNotifier
from worker.stores.pauses import PauseStore
from worker.stores.people import PeopleStore
from worker.stores.person_digests import PersonDigests
from worker.stores.processes import ProcessStore
from worker.stores.queue_counts import recount
from worker.stores.records import RecordStore
from worker.stores.registered_names import NameStore
from worker.stores.restored import RestoredStore
from worker.stores.script_runner import ScriptRunner, compact
from worker.stores.statuses import StatusStore
from worker.stores.unknowns import UnknownStore
from worker.stores.worker_scripts import worker_script

_OPENING: Final = worker_script("opening")
_OFFSET: Final = worker_script("offset")
_SENDERS: Final = worker_script("senders")
_NOW: Final = worker_script("now")
_PRESSURE: Final = worker_script("pressure")

_WORKER_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MS: Final = timedelta(milliseconds=1)
_LEASE: Final = timedelta(seconds=15)
_TUNING: Final = Tuning()
_MAX_REGISTERED_NAMES: Final = 100
"""So that a call takes less than 5 ms of the store. Every process registers its names all the time.
"""
_NONE: Final[Mapping[Any, Any]] = MappingProxyType({})

_OTHER_PROFILE: Final = {
    "sandbox": "the store's profile is sandbox: it was made with sandbox settings "
    "(a base_url of this machine or network), and these are live ones, or name no account; "
    "give each a store of its own, or is SENDWINDOW_CONFIG not set?",
    "live": "the store's profile is live, and these are sandbox settings "
    "(a base_url of this machine or network); "
    "give each a store of its own, or is SENDWINDOW_CONFIG not set?",
}


@dataclass(frozen=True, slots=True)
class AccountLimits:
    """The limits of an account by which claims plan. `open_posts`: 0 means no limit."""

    pace: Pace | None = None
    open_posts: int = 0


class StoreRefused(Exception):
    """The store must not be used with these settings. The text says why and what to do."""


class StoreTroubleError(Exception):
    """The store cannot be used now.

    The text names the store, what the server said, and the remedy. It contains no secret.
    """


class Store:
    """One open partition. Everything that is stored is reached through its attributes.

    `warnings`: what is wrong with the store but is no reason to refuse it.
    """

    def __init__(
        self, calls: ScriptRunner, blocking: Redis, digests: PersonDigests, worker: Worker
    ) -> None:
        self._calls = calls
        self._blocking = blocking
        self._waker = WorkNotifier(blocking, calls.keys.wake)
        self.keys = calls.keys
        self.ledger = LedgerStore(calls, digests, self._waker, worker)
        self.people = PeopleStore(calls, digests)
        self.statuses = StatusStore(calls)
        self.unknowns = UnknownStore(calls)
        self.records = RecordStore(calls)
        self.switches = PauseStore(calls)
        self.breakers = BreakerStore(calls)
        self.lanes = LaneStates(calls)
        self.held = HeldStore(calls)
        self.names = NameStore(calls)
        self.processes = ProcessStore(calls, worker.name)
        self.listening = InboundCoverageStore(calls)
        self.restored = RestoredStore(calls, digests)
        self.warnings: tuple[str, ...] = ()

    @classmethod
    async def connect(  # noqa: PLR0913 -- each argument is a separate choice, and the caller names it
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
        """Open a partition.

        `reading`: write nothing, so that a new store stays empty and belongs to no profile yet.

        Raises StoreRefused for a store that is newer, that has another profile or another person
        key, or that evicts keys; BadStoreUrl for settings that cannot be read; redis-py's errors
        when the store does not answer.
        """
        if not _WORKER_ID.fullmatch(worker_id):
            raise StoreRefused(
                "a worker id has 1 to 64 of the characters A-Z a-z 0-9 . _ -; choose another"
            )
        digests = PersonDigests(person_key)
        redis = connect(url)
        calls = ScriptRunner(
            redis, Keys(checked_partition(partition)), replicas_asked(durability), tuning.budget
        )
        try:
            warnings = await calls.patiently(lambda: _check_server(redis))
            await _check_meta(calls, digests, profile, reading=reading)
        except BaseException:
            await disconnect(redis)
            raise
        blocking = connect(url, timeout=BLOCK_SECONDS + 5, max_connections=2)
        store = cls(calls, blocking, digests, Worker(worker_id, lease, tuning))
        store.warnings = warnings
        return store

    async def close(self) -> None:
        """Close every connection. Nothing is released, so release claims before."""
        await self._waker.close()
        await disconnect(self._blocking)
        await disconnect(self._calls.redis)

    async def register_senders(
        self,
        accounts: Mapping[str, str],
        contents: Mapping[tuple[str, str], str] = _NONE,
        *,
        services: Mapping[str, str] = _NONE,
        paces: Mapping[str, Pace] = _NONE,
        limits: Mapping[str, AccountLimits] = _NONE,
        queue_limits: Mapping[str, tuple[int, int]] = _NONE,
        overwrite: bool = True,
    ) -> None:
        """Record what names stand for, so that claims can look it up.

        `accounts`: sender → account. `services`: sender → messaging service, for senders that are
        in one. `paces`: sender → its rate limit, for senders that have one. `limits`: account → its
        limits. `queue_limits`: sender → how many messages may be queued for it and for one campaign
        of it; 0: any number. `contents`: (template, language or "") → the ContentSid that it is
        sent by.
        `overwrite` False: an existing meaning stays, but the store still records that this process
        knows the names.
        """
        senders = [
            (
                name,
                account,
                services.get(name, ""),
                _pace_text(paces.get(name)),
                *queue_limits.get(name, (0, 0)),
            )
            for name, account in sorted(accounts.items())
        ]
        limited = [
            (name, _pace_text(one.pace), str(one.open_posts or ""))
            for name, one in sorted(limits.items())
        ]
        templates = [
            ("|".join(name), content_sid) for name, content_sid in sorted(contents.items())
        ]
        most = max(len(senders), len(limited), len(templates))
        for start in range(0, most, _MAX_REGISTERED_NAMES):
            part = slice(start, start + _MAX_REGISTERED_NAMES)
            asked = {
                "overwrites": overwrite,
                "senders": senders[part],
                "accounts": limited[part],
                "contents": templates[part],
            }
            await self._calls.run_durably(_SENDERS, [compact(asked)])

    async def recount_queued(self, limits: Mapping[str, int]) -> int:
        """Correct the count of each sender that seems to have reached its limit.

        `limits`: sender → how many messages may be queued for it; 0: any number. Returns how many
        counts were wrong.
        """
        return await recount(self._calls, limits)

    async def now(self) -> datetime:
        """Return the store's clock, sandbox offset included."""
        return from_ms(int(await self._calls.run(_NOW, [])))

    async def set_offset(self, offset: timedelta) -> None:
        """Move the store's clock. Raises StoreRefused for a store that is not a sandbox."""
        if not await self._calls.run_durably(_OFFSET, [offset // _MS]):
            raise StoreRefused(
                "only a sandbox store has a clock that moves; give the sandbox a store of its own"
            )

    async def ping(self) -> None:
        """Raise unless the store answers."""
        await self._ask("PING")

    async def pressure(self) -> int | None:
        """Return the store's memory in percent of its limit.

        0: there is no limit. None: INFO is denied.
        """
        try:
            memory = await self._ask("INFO", "memory")
        except NoPermissionError:
            return None
        limit = int(memory.get("maxmemory", 0))
        return min(100, int(memory["used_memory"]) * 100 // limit) if limit else 0

    async def publish_pressure(self) -> int | None:
        """Record how full the store is, so that producers can read it, and return that in percent.

        None: INFO is denied.
        """
        pressure = await self.pressure()
        if pressure is not None:
            await self._calls.run(_PRESSURE, [pressure])
        return pressure

    async def _ask(self, *command: Argument) -> Any:
        return await self._calls.ask(*command)


async def _check_server(redis: Redis) -> tuple[str, ...]:
    """Refuse a store that evicts keys.

    Returns warnings: there is no append-only file, or this user may not look.
    """
    policy = await _server_setting(redis, "memory", "maxmemory_policy", "maxmemory-policy")
    if policy not in {None, "noeviction"}:
        raise StoreRefused(
            f"the store evicts keys when it is full (maxmemory-policy {policy}), "
            "so messages would be lost; set maxmemory-policy noeviction"
        )
    appends = await _server_setting(redis, "persistence", "aof_enabled", "appendonly")
    warnings = []
    if appends in {"no", "0"}:
        warnings.append(
            "the store has no append-only file: a restart loses messages; set appendonly yes"
        )
    unseen = [
        name
        for name, found in (("maxmemory-policy", policy), ("appendonly", appends))
        if found is None
    ]
    if unseen:
        warnings.append(
            f"{' and '.join(unseen)} could not be checked: "
            "this user may use neither INFO nor CONFIG GET; "
            "grant +info, or make sure of noeviction and an append-only file yourself"
        )
    return tuple(warnings)


async def _server_setting(redis: Redis, section: str, field: str, name: str) -> str | None:
    """Read a setting of the server from INFO, else with CONFIG GET.

    Returns None where both are denied or do not show it. Managed services reserve CONFIG for
    themselves, and a renamed command raises an error as a denied one does.
    """
    found: Any = None
    with suppress(ResponseError):
        found = (await execute(redis, "INFO", section)).get(field)
    if found is None:
        with suppress(ResponseError):
            kept = await redis.config_get(name)
            found = next((value for key, value in kept.items() if _decode(key) == name), None)
    return None if found is None else _decode(found)


async def _check_meta(
    calls: ScriptRunner, digests: PersonDigests, profile: str, *, reading: bool
) -> None:
    own = (str(SCHEMA), profile, digests.fingerprint)
    if reading:
        kept = await calls.ask("HMGET", calls.keys.meta, "schema", "profile", "person_key")
    else:
        kept = await calls.run_durably(_OPENING, own)
    schema, kept_profile, fingerprint = (
        mine if found is None else found.decode() for mine, found in zip(own, kept, strict=True)
    )
    if not knows_layout(schema):
        raise StoreRefused(
            f"this worker knows the store's layout {SCHEMA} only, "
            "and the store has another one; deploy a newer worker"
        )
    if kept_profile != profile:
        raise StoreRefused(_OTHER_PROFILE[kept_profile])
    if fingerprint != digests.fingerprint:
        raise StoreRefused(
            "the store's persons are keyed with another person key, "
            "so opt-outs would not be found; "
            "set store.person_key to the one it was created with"
        )


def _pace_text(pace: Pace | None) -> str:
    return "" if pace is None else f"{pace.interval_us} {pace.tolerance_us}"


def _decode(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
