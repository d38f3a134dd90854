"""Opens what the settings name: rules, store, producer.

Where the settings have no store, it provides an embedded store and a person key.
"""

import hmac
import os
import secrets
import sys
import tomllib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import fields, is_dataclass, replace
from datetime import timedelta
from importlib import resources
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from redis.exceptions import RedisError

from policies.ruleset import FILES, Ruleset, parse_ruleset
from sendwindow.errors import NotDurable
from sendwindow.producer import Producer
from sendwindow.store_faults import fault_of
from worker.pipeline.decision_inputs import content_sid_of
from worker.runtime import embedded_store
from worker.settings.checks import MIN_KEY_CHARACTERS, is_private
from worker.settings.environment import DATA_VARIABLE
from worker.settings.settings import Settings, data_folder, load_settings
from worker.stores.ledger import Tuning
from worker.stores.store import AccountLimits, Store, StoreRefused, StoreTroubleError

MAX_COMMAND_RETRY: Final = timedelta(seconds=1)
"""How long a command retries. An operator waits for its answer."""

_KEY_FILE: Final = "person.key"


# -- settings and rules --------------------------------------------------------------------------


def read_settings(path: str | None, *, with_credentials: bool = True) -> Settings:
    """Read the settings from the given file, or the default one, and from the environment.

    Raises SettingsError.

    `with_credentials`: False for commands that never call Twilio, so that they need none of its
    secrets.
    """
    return load_settings(path, os.environ, with_credentials=with_credentials)


def load_rules(settings: Settings) -> Ruleset:
    """Read the policy data, and apply the overrides and the extra words of the settings.

    Raises PolicyDataError.
    """
    folder = resources.files("policies") / "data"
    data = {name: tomllib.loads((folder / name).read_text("utf-8")) for name in FILES}
    overrides: dict[str, object] = {
        "messenger_account_update": settings.policy.messenger_account_update,
        "margin_seconds": settings.policy.margin_seconds,
        "per_person_per_day": settings.guards.per_person_per_day,
    }
    if settings.guards.allow_recipients:
        overrides["allow_recipients"] = list(settings.guards.allow_recipients)
    return parse_ruleset(data, overrides, settings.extra_words)


# -- the store -----------------------------------------------------------------------------------


@contextmanager
def store_settings(
    settings: Settings,
    environ: Mapping[str, str] = os.environ,
    announce: Callable[[Path], None] | None = None,
) -> Iterator[Settings]:
    """Yield settings with a store URL and a person key.

    If the settings have no URL, it is that of an embedded store that runs until the context ends. A
    missing key is then read from the embedded store's folder.

    `announce`: called with the folder of an embedded store. By default a line on standard error
    names the folder, so that a missing setting is noticed and the embedded store is not taken for
    the shared one. Raises EmbeddedStoreError when there is neither a URL nor a server to start, and
    StoreRefused when the folder cannot be written.
    """
    if settings.store.url is not None:
        yield settings
        return
    folder = data_folder(environ)
    without_url = {name: text for name, text in environ.items() if name != "REDIS_URL"}
    with _written(folder):
        store = embedded_store.start(folder / "store", environ=without_url)
    try:
        with _written(folder):
            key = settings.store.person_key or _kept_key(folder / _KEY_FILE)
        (announce or _announce)(folder)
        yield replace(
            settings,
            store=replace(settings.store, url=store.url, person_key=key),
            store_url_from="embedded",
        )
    finally:
        store.stop()


def _announce(folder: Path) -> None:
    sys.stderr.write(
        f"note: no store URL is set, so this uses the embedded store in {folder.resolve()} "
        "(store.url or REDIS_URL names another)\n"
    )


@contextmanager
def _written(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreRefused(
            f"No store URL is set, and {folder} cannot be written ({error.strerror}). "
            f"Set store.url, or {DATA_VARIABLE} to a folder of your own."
        ) from error


def _kept_key(path: Path) -> str:
    """Return the person key of this folder's store. The first process that asks creates it."""
    if not path.exists():
        draft = path.with_name(f"{path.name}-{os.getpid()}")
        draft.touch(0o600)
        draft.write_text(secrets.token_hex(32) + "\n", "ascii")
        with suppress(FileExistsError):
            # A link appears whole, and never replaces a key that another process has just made.
            path.hardlink_to(draft)
        draft.unlink()
    key = path.read_text("ascii").strip()
    if len(key) < MIN_KEY_CHARACTERS:
        raise StoreRefused(
            f"{path} has fewer than {MIN_KEY_CHARACTERS} bytes, and persons are found by it alone. "
            f"Restore it, or set {DATA_VARIABLE} to a new folder."
        )
    return key


def profile_of(settings: Settings) -> Literal["live", "sandbox"]:
    """Return which kind of store these settings may use.

    A sandbox's store is allowed only while no account is outside this network.
    """
    hosts = [urlsplit(account.base_url).hostname or "" for account in settings.accounts.values()]
    return "sandbox" if hosts and all(is_private(host) for host in hosts) else "live"


async def connect_store(
    settings: Settings, role: str, tuning: Tuning | None = None, *, reading: bool = False
) -> Store:
    """Open the store. With `reading`, a new store stays empty.

    Raises StoreRefused and redis-py's errors.
    """
    if settings.store.url is None or settings.store.person_key is None:
        raise ValueError("the settings have no store; take them from store_settings()")
    return await Store.connect(
        settings.store.url,
        partition=settings.store.partition,
        person_key=settings.store.person_key.encode(),
        durability=settings.store.durability,
        worker_id=f"{role}-{os.getpid()}-{secrets.token_hex(4)}",
        lease=timedelta(seconds=settings.dispatch.lease_seconds),
        profile=profile_of(settings),
        tuning=tuning or Tuning(),
        reading=reading,
    )


async def register(store: Store, settings: Settings, *, overwrite: bool = True) -> None:
    """Record in the store what the names in messages stand for.

    `overwrite` False: record only the names that the store lacks. Raises StoreRefused when a name
    stands for something else in the store, and redis-py's errors.
    """
    await check_names(store, settings)
    contents = {
        (name, language or ""): content_sid_of(name, language, settings)
        for name, template in settings.templates.items()
        for language in (*template.languages, None)
    }
    senders = settings.senders.values()
    await store.register_senders(
        {sender.name: sender.account for sender in senders},
        {name: content_sid for name, content_sid in contents.items() if content_sid is not None},
        services={
            sender.name: sender.messaging_service_sid
            for sender in senders
            if sender.messaging_service_sid
        },
        paces={sender.name: sender.pace for sender in senders if sender.pace is not None},
        limits={
            name: AccountLimits(account.pace, account.max_open_posts)
            for name, account in settings.accounts.items()
        },
        queue_limits=settings.queue_limits,
        overwrite=overwrite,
    )


def settings_digests(settings: Settings) -> dict[str, str]:
    """Compute a digest of each section that decides what goes out.

    The digests are keyed, so that no address can be guessed from them. They leave out secrets,
    because a rotated token does not make the settings different, and where a worker answers probes.
    """
    key = _digest_key(settings)
    sections: dict[str, object] = {
        "accounts": settings.accounts,
        "senders": settings.senders,
        "templates": settings.templates,
        "policy": settings.policy,
        "guards": settings.guards,
        "dispatch": settings.dispatch,
    }
    return {name: _digest(key, section) for name, section in sections.items()}


_LEFT_OUT: Final = frozenset({"password", "webhook_tokens", "health_host", "health_port"})


def _digest_key(settings: Settings) -> bytes:
    """Return the person key, or that of the embedded store if the settings have none."""
    if settings.store.person_key is not None:
        return settings.store.person_key.encode()
    path = data_folder(os.environ) / _KEY_FILE
    return path.read_bytes().strip() if path.exists() else b""


def _digest(key: bytes, section: object) -> str:
    return hmac.new(key, _canonical(section).encode(), "sha256").hexdigest()[:16]


def _canonical(value: object) -> str:
    """Return a text that is the same for equal values, whatever the order of tables and sets."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{name}:{_canonical(value[name])}" for name in sorted(value)) + "}"
    if isinstance(value, frozenset):
        return "[" + ",".join(sorted(map(repr, value))) + "]"
    if is_dataclass(value) and not isinstance(value, type):
        shown = (member.name for member in fields(value) if member.name not in _LEFT_OUT)
        return "(" + ",".join(f"{name}={_canonical(getattr(value, name))}" for name in shown) + ")"
    return repr(value)


async def check_names(store: Store, settings: Settings, *, reading: bool = False) -> None:
    """Raise StoreRefused when a name stands for something else in the store than in the settings.

    Stops and windows would then not be found, or be taken for another sender's. Otherwise the store
    remembers the names, unless `reading`. Also raises redis-py's errors.
    """
    faults = await store.names.remember(
        {account.name: account.account_sid for account in settings.accounts.values()},
        {sender.name: (sender.account, sender.address) for sender in settings.senders.values()},
        reading=reading,
    )
    if faults:
        raise StoreRefused("; ".join([*faults, "or give these settings a store of their own"]))


@asynccontextmanager
async def open_store(settings: Settings, *, reading: bool = True) -> AsyncIterator[Store]:
    """Open the store for one command, including an embedded store.

    `reading`: for commands that only read, or change only what the store already has. Without it, a
    wrong person key that came first would lock out the right one.
    """
    with store_settings(settings) as complete, _named(complete):
        store = await connect_store(
            complete, "command", Tuning(budget=MAX_COMMAND_RETRY), reading=reading
        )
        try:
            await check_names(store, settings, reading=reading)
            yield store
        finally:
            await store.close()


@contextmanager
def _named(settings: Settings) -> Iterator[None]:
    """Raise the store's errors as StoreTroubleError, which names the store."""
    try:
        yield
    except BrokenPipeError:  # the reader of the command's output went away
        raise
    except (RedisError, NotDurable, ConnectionError, TimeoutError) as error:
        raise StoreTroubleError(fault_of(error).sentence(settings.store_place)) from error


@asynccontextmanager
async def open_producer(settings: Settings) -> AsyncIterator[Producer]:
    """Open a producer for one command, including an embedded store."""
    with store_settings(settings) as complete:
        async with Producer(
            complete.store.url or "", complete.store.partition, durability=complete.store.durability
        ) as producer:
            yield producer
