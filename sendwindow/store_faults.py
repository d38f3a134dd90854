"""The only table of store faults: which ones pass by themselves, and what an operator has to do.

We never show the text of an error: it may contain a URL with its password, or a command with a
person's address.
"""

import errno
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlsplit

from redis import exceptions as redis_errors

from sendwindow.errors import NotDurable


@dataclass(frozen=True, slots=True)
class StoreFault:
    """One kind of fault.

    `word`: the name that the server or the operating system uses for it. `is_passing`: whether the
    same call may succeed later.
    """

    word: str
    problem: str
    remedy: str
    is_passing: bool = False

    def sentence(self, place: str = "the store") -> str:
        """Return problem and remedy as one sentence. `place` names the store, as in `place_of`."""
        return f"{place} {self.problem} ({self.word}); {self.remedy}"


_CREDENTIALS: Final = (
    "correct user and password in the URL; the password is the user's, not the machine's"
)
_CLUSTER: Final = "use a standalone server or Sentinel; Redis Cluster is not supported"
_RUNS: Final = "check that it runs, and that this host and port are its own"
_TLS: Final = (
    "use rediss:// for a TLS port and redis:// for a plain one, "
    "and name its authority with ssl_ca_certs"
)

_ROWS: Final = (
    # Faults that the server reports.
    StoreFault("LOADING", "is still loading its data", "wait until it has", is_passing=True),
    StoreFault(
        "BUSY",
        "runs another client's script and answers no one else",
        "wait, or end the script with SCRIPT KILL",
        is_passing=True,
    ),
    StoreFault(
        "READONLY",
        "is a replica, which takes no writes",
        "name the primary, or use sentinel://",
        is_passing=True,
    ),
    StoreFault(
        "MASTERDOWN", "is a replica that lost its primary", "wait for the failover", is_passing=True
    ),
    StoreFault("CLUSTERDOWN", "is a cluster that is down", _CLUSTER, is_passing=True),
    StoreFault("TRYAGAIN", "is a cluster that is moving keys", _CLUSTER, is_passing=True),
    StoreFault(
        "NOREPLICAS",
        "takes no writes while replicas are missing",
        "start its replicas, or lower min-replicas-to-write",
        is_passing=True,
    ),
    StoreFault(
        "MAXCLIENTS",
        "has as many clients as it allows",
        "raise maxclients, or find the client that opens so many connections with CLIENT LIST",
        is_passing=True,
    ),
    StoreFault(
        "MISCONF",
        "cannot write to its disk, so it takes no writes",
        "free space on the store's disk; INFO persistence and its log name the cause",
    ),
    StoreFault("OOM", "has no memory left", "add memory, or workers so that it drains"),
    StoreFault("NOAUTH", "wants user and password", _CREDENTIALS),
    StoreFault("WRONGPASS", "refuses user or password", _CREDENTIALS),
    StoreFault(
        "NOPERM",
        "denies what this user asked for",
        "grant it: docs/reliability.md lists the rights needed",
    ),
    StoreFault("MOVED", "is a Redis Cluster", _CLUSTER),
    StoreFault("ASK", "is a Redis Cluster", _CLUSTER),
    StoreFault("CROSSSLOT", "is a Redis Cluster", _CLUSTER),
    StoreFault(
        "DENIED",
        "is in protected mode and takes no connection from here",
        "set a password for it, or bind it as needed",
    ),
    StoreFault(
        "SCHEMA",
        "has a layout that this release of sendwindow does not know",
        "install the release of sendwindow that the workers run",
    ),
    StoreFault(
        "DBINDEX", "has no database of this number", "correct the number at the end of the URL"
    ),
    StoreFault(
        "COMMAND",
        "does not know a command that Sendwindow needs",
        "use Redis 7.0 or later, or Valkey, and rename no command",
    ),
    # Faults that this machine reports.
    StoreFault("refused", "takes no connection: nothing listens there", _RUNS, is_passing=True),
    StoreFault("no socket", "has no socket at this path", _RUNS, is_passing=True),
    StoreFault(
        "no permission",
        "has a socket that this user may not open",
        "correct the rights of the socket",
    ),
    StoreFault(
        "name",
        "has a host name that no name server knows",
        "correct the host name",
        is_passing=True,
    ),
    StoreFault("certificate", "shows a TLS certificate that is not trusted", _TLS),
    StoreFault("TLS", "does not speak TLS as asked", _TLS),
    StoreFault(
        "timeout",
        "does not answer in time",
        f"{_RUNS}, and that no script keeps it busy",
        is_passing=True,
    ),
    StoreFault(
        "lost",
        "does not answer: the connection was lost",
        f"{_RUNS}; a TLS port closes what is not TLS (rediss://)",
        is_passing=True,
    ),
    StoreFault(
        "replicas",
        "has too few replicas that acknowledge",
        "start the replicas, or lower durability",
        is_passing=True,
    ),
)

FAULTS: Final[Mapping[str, StoreFault]] = {row.word: row for row in _ROWS}
"""Every kind of fault by its word."""

_CLASSES: Final = (
    # The first match decides, and redis-py derives some of these classes from others.
    (NotDurable, "replicas"),
    (redis_errors.NoPermissionError, "NOPERM"),
    (redis_errors.AuthorizationError, "NOPERM"),
    (redis_errors.AuthenticationError, "WRONGPASS"),
    (redis_errors.BusyLoadingError, "LOADING"),
    (redis_errors.ReadOnlyError, "READONLY"),
    (redis_errors.OutOfMemoryError, "OOM"),
    (redis_errors.ClusterDownError, "CLUSTERDOWN"),
    (redis_errors.TryAgainError, "TRYAGAIN"),
    (redis_errors.MasterDownError, "MASTERDOWN"),
    (redis_errors.MovedError, "MOVED"),
    (redis_errors.AskError, "ASK"),
    (redis_errors.ClusterCrossSlotError, "CROSSSLOT"),
    (ssl.SSLCertVerificationError, "certificate"),
    (ssl.SSLError, "TLS"),
    (socket.gaierror, "name"),
    (ConnectionRefusedError, "refused"),
    (FileNotFoundError, "no socket"),
    (PermissionError, "no permission"),
    (TimeoutError, "timeout"),
    (redis_errors.TimeoutError, "timeout"),
)
_BY_TEXT: Final = (
    ("max number of clients", "MAXCLIENTS"),
    ("Authentication required", "NOAUTH"),
    ("DB index is out of range", "DBINDEX"),
    ("invalid DB index", "DBINDEX"),
    ("unknown command", "COMMAND"),
)
_DENIED_COMMAND: Final = re.compile(r"(?:run|execute) the '([A-Za-z|]{1,40})' command")
_MAX_CHAIN_ERRORS: Final = 8


def fault_of(error: BaseException) -> StoreFault:
    """Return the fault behind an error of the store or of the connection to it."""
    for each in _chain(error):
        word = _word_of(each)
        if word is not None:
            return _with_command(FAULTS[word], each)
    if isinstance(error, OSError | redis_errors.ConnectionError):
        number = next(
            (one.errno for one in _chain(error) if isinstance(one, OSError) and one.errno), None
        )
        return replace(FAULTS["lost"], word=errno.errorcode.get(number or 0, "lost"))
    if not isinstance(error, redis_errors.RedisError):
        return StoreFault(
            type(error).__name__,
            "is not the cause: this process failed by itself",
            "report it with its log",
        )
    text = str(error).partition(" ")[0]
    word = text if text.isalpha() and text.isupper() else type(error).__name__
    return StoreFault(
        word,
        "answered with an error",
        "check that it is Redis 7.0 or later, or Valkey, and read its log",
    )


def is_passing(error: BaseException) -> bool:
    """Return whether the same call may succeed later.

    It may if the store is unreachable, starting, busy or failing over.
    """
    return fault_of(error).is_passing


def place_of(url: str | None, setting: str = "") -> str:
    """Return a name for the store: host and port, or socket, and the setting that holds its URL.

    The name never contains a password.
    """
    origin = f" ({setting})" if setting else ""
    scheme, _, rest = (url or "").partition("://")
    if scheme == "sentinel":
        hosts = rest.partition("?")[0].rpartition("@")[2]
        return f"the store behind Sentinel {hosts}{origin}"
    try:
        parts = urlsplit(url or "")
        host, port = parts.hostname, parts.port
    except ValueError:
        return f"the store{origin}"
    if scheme == "unix":
        return f"the store at {parts.path}{origin}"
    if scheme not in {"redis", "rediss"}:
        return f"the store{origin}"
    name = host or "localhost"
    return f"the store at {f'[{name}]' if ':' in name else name}:{port or 6379}{origin}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and the errors that caused it.

    redis-py hides a refused password or a TLS fault behind a ConnectionError.
    """
    each: BaseException | None = error
    for _ in range(_MAX_CHAIN_ERRORS):
        if each is None:
            return
        yield each
        each = each.__cause__ or each.__context__


def _word_of(error: BaseException) -> str | None:
    text = str(error)
    if isinstance(error, redis_errors.RedisError):
        for part, word in _BY_TEXT:
            if part in text:
                return word
    for kind, word in _CLASSES:
        if isinstance(error, kind):
            return word
    if isinstance(error, redis_errors.ResponseError):
        word = text.partition(" ")[0]
        return word if word in FAULTS else None
    return None


def _with_command(fault: StoreFault, error: BaseException) -> StoreFault:
    denied = _DENIED_COMMAND.search(str(error)) if fault.word == "NOPERM" else None
    if denied is None:
        return fault
    command = denied[1].upper().replace("|", " ")
    return replace(fault, problem=f"denies this user the command {command}")
