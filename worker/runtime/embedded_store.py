"""Starts a private Redis-compatible server when no URL is given: for demo, tests and laptops.

It is a real server, never an emulation. All processes that use a data folder share one server, and
the last of them stops it.
"""

import fcntl
import hashlib
import json
import os
import re
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from worker.runtime.clock import monotonic
from worker.runtime.store_binary import EmbeddedStoreError, Engine, find_engine

__all__ = ["EmbeddedStore", "EmbeddedStoreError", "start"]

MAX_SOCKET_PATH_BYTES: Final = 100
"""In bytes. macOS allows 103 and Linux 107, and the server adds a terminator of its own."""

START_SECONDS: Final = 60.0
"""A server that loads a long append-only file responds late."""

_ping_seconds = 5.0
_release_seconds = 10.0

_OWN_FILES: Final = frozenset(
    {"alive", "appendonlydir", "engine.json", "lock", "s.sock", "server.log", "server.pid", "users"}
)


@dataclass(slots=True)
class EmbeddedStore:
    """A store to connect to."""

    url: str
    _data_dir: Path | None = None
    _share: int | None = None

    def stop(self) -> None:
        """Stop using the store. The last process to do so stops the server.

        The server writes its file to disk before it stops. A store that `REDIS_URL` named keeps
        running. A second call does nothing.
        """
        share, self._share = self._share, None
        if share is None or self._data_dir is None:
            return
        with _locked(self._data_dir / "lock"):
            try:
                fcntl.flock(share, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            finally:
                os.close(share)
            _stop_server(self._data_dir)


def start(data_dir: Path, *, environ: Mapping[str, str], maxmemory: int = 0) -> EmbeddedStore:
    """Return a running store with its data in `data_dir`. Starts the server unless it already runs.

    If `environ` has `REDIS_URL`, that store is used and nothing is started. `maxmemory` is in bytes
    (0: no limit), and applies only when this call starts the server. A full store refuses new work
    (noeviction).

    Raises:
        EmbeddedStoreError: no server program was found, or the folder belongs to another program or
            to a newer engine.
    """
    if url := environ.get("REDIS_URL"):
        return EmbeddedStore(url)
    folder = data_dir.expanduser().resolve()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _refuse_foreign(folder)
    with _locked(folder / "lock"):
        path = _recorded_socket(folder)
        if path is None or _ping(path) is None:
            path = _socket_path(folder, environ)
            _start_server(folder, path, find_engine(environ), maxmemory)
        share = os.open(folder / "users", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(share, fcntl.LOCK_SH)
    return EmbeddedStore(f"unix://{path}?db=0", folder, share)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _refuse_foreign(folder: Path) -> None:
    if (folder / "engine.json").exists():
        return
    strangers = sorted(
        entry.name for entry in folder.iterdir() if entry.name.split("-")[0] not in _OWN_FILES
    )
    if strangers:
        raise EmbeddedStoreError(
            f"{folder} is not a data folder of Sendwindow (it holds {strangers[0]}). "
            "Name an empty or new folder."
        )


def _recorded(folder: Path) -> dict[str, object]:
    try:
        stored = json.loads((folder / "engine.json").read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise EmbeddedStoreError(
            f"{folder}/engine.json is damaged. Restore it, or name a new data folder."
        ) from error
    if not isinstance(stored, dict) or not {"engine", "major", "minor"} <= stored.keys():
        raise EmbeddedStoreError(
            f"{folder}/engine.json is damaged. Restore it, or name a new data folder."
        )
    return stored


def _recorded_socket(folder: Path) -> Path | None:
    # The path is recorded because the fallback path depends on the environment of the process that
    # started the server.
    path = _recorded(folder).get("socket")
    return Path(path) if isinstance(path, str) else None


def _record(folder: Path, engine: Engine, path: Path) -> None:
    stored = _recorded(folder)
    if stored:
        was = f"{stored.get('engine')} {stored.get('major')}.{stored.get('minor')}"
        newest = (stored.get("major"), stored.get("minor"))
        # Another engine would refuse these files or, worse, start with an empty store.
        if stored.get("engine") != engine.name or newest > engine.version:
            raise EmbeddedStoreError(
                f"{folder} was written by {was}, and the server found here is {engine} "
                f"({engine.binary}), which cannot be trusted to read it. "
                f"Install {was} or newer, or name a new data folder."
            )
    major, minor = engine.version
    content = {"engine": engine.name, "major": major, "minor": minor, "socket": str(path)}
    draft = folder / "engine.json-new"
    draft.write_text(json.dumps(content) + "\n")
    draft.replace(folder / "engine.json")


def _socket_path(folder: Path, environ: Mapping[str, str]) -> Path:
    path = folder / "s.sock"
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES:
        return path
    name = f"sw-{os.getuid()}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]}"
    for base in (environ.get("XDG_RUNTIME_DIR"), environ.get("TMPDIR"), "/tmp"):  # noqa: S108  # owner checked below
        if (
            base
            and Path(base).is_dir()
            and len(os.fsencode(base)) + len(name) + 8 <= MAX_SOCKET_PATH_BYTES
        ):
            home = Path(base) / name
            home.mkdir(mode=0o700, exist_ok=True)
            found = home.lstat()
            if (
                stat.S_ISDIR(found.st_mode)
                and found.st_uid == os.getuid()
                and not found.st_mode & 0o077
            ):
                return home / "s.sock"
    raise EmbeddedStoreError(
        f"{folder} is too long for a unix socket. Name a shorter data folder, or set TMPDIR."
    )


def _start_server(folder: Path, path: Path, engine: Engine, maxmemory: int) -> None:
    log = folder / "server.log"
    # The server is a daemon with its own session. Otherwise Ctrl-C would end the store before the
    # worker has drained.
    # fmt: off
    command = [
        str(engine.binary), "--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700",
        "--dir", str(folder), "--appendonly", "yes", "--appendfsync", "everysec", "--save", "",
        "--maxmemory", str(maxmemory), "--maxmemory-policy", "noeviction",
        "--daemonize", "yes", "--pidfile", str(folder / "server.pid"), "--logfile", str(log),
    ]
    # fmt: on
    with _use_of(folder) as alive:
        _record(folder, engine, path)
        path.unlink(missing_ok=True)
        log.write_bytes(b"")
        with log.open("ab") as output:
            subprocess.run(
                command, stdout=output, stderr=output, pass_fds=(alive,), cwd=folder, check=False
            )
    deadline = monotonic() + START_SECONDS
    while monotonic() < deadline:
        if _ping(path) is not None:
            return
        if not _is_used(folder):
            break
        time.sleep(0.003)
    last = log.read_text(errors="replace").strip().splitlines()[-1:] or ["no output"]
    raise EmbeddedStoreError(f"{engine} does not start in {folder}: {last[0]} (all of it: {log}).")


@contextmanager
def _use_of(folder: Path) -> Iterator[int]:
    """Hold the lock that the server process inherits.

    While the lock is held, a process uses these files, whether or not it responds.
    """
    alive = os.open(folder / "alive", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        deadline = monotonic() + _release_seconds
        while True:
            try:
                fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if monotonic() > deadline:
                    raise EmbeddedStoreError(
                        f"A server for {folder} runs but does not answer. "
                        f"End it: kill $(cat {folder}/server.pid)"
                    ) from None
            else:
                break
            time.sleep(0.003)
        yield alive
    finally:
        os.close(alive)


def _is_used(folder: Path) -> bool:
    with (folder / "alive").open() as alive:
        try:
            fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _stop_server(folder: Path) -> None:
    path = _recorded_socket(folder)
    pid = _ping(path) if path else None
    if path is None or pid is None:
        return
    os.kill(pid, signal.SIGTERM)
    with _use_of(folder):
        pass  # The process holds the lock until it ends, and it ends after its file is on disk.


def _ping(path: Path) -> int | None:
    """Return the process id of the server behind `path`.

    Returns None when no server responds, or when the server is still loading its file.
    """
    answer = b""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_ping_seconds)
        try:
            connection.connect(str(path))
            # While the file is loading, the server responds to INFO but not to PING.
            connection.sendall(b"PING\r\nINFO server\r\n")
            while b"process_id:" not in answer or not answer.endswith(b"\r\n"):
                part = connection.recv(65_536)
                if not part:
                    return None
                answer += part
        except OSError:
            return None
    found = re.match(rb"\+PONG\r\n.*^process_id:(\d+)", answer, re.MULTILINE | re.DOTALL)
    return int(found[1]) if found else None
