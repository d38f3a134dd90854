"""Shared fixtures: one private, real server for each pytest process, and a partition for each
test.
"""

import itertools
import logging
import os
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
import redis
import structlog
from hypothesis import settings
from redis.asyncio import Redis

from tests.chaos.seeds import seeds, told
from tests.depth import QUICK, QUICK_EXAMPLES
from worker.runtime import embedded_store

# The same examples every time, so that a red run is red for everyone; `./run test --all` tries new
# ones. `./run test` takes a few of them, and `./run test PATH` all.
settings.register_profile("suite", deadline=None, derandomize=True)
settings.register_profile(QUICK, deadline=None, derandomize=True, max_examples=QUICK_EXAMPLES)
settings.register_profile("search", deadline=None, print_blob=True)
settings.load_profile("suite")

_numbers = itertools.count(1)


def pytest_configure() -> None:
    """Draw the seeds of the nemesis before any process of the run collects its tests."""
    try:
        seeds()
    except ValueError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_report_header(config: pytest.Config) -> str | None:
    """Show the seeds in the header, also where every test is green."""
    return None if config.option.markexpr == "not long" else told(seeds())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the seeds again in the summary, with each result, where the nemesis ran."""
    ran = [
        f"nemesis: {report.nodeid.rpartition('::')[2]} {outcome}"
        for outcome in ("passed", "failed", "error")
        for report in terminalreporter.stats.get(outcome, ())
        if "test_a_long_run_keeps_every_promise" in report.nodeid
    ]
    for line in [*ran, told(seeds())] if ran else ():
        terminalreporter.write_line(line)


@pytest.fixture(autouse=True)
def _own_logs() -> Iterator[None]:
    """Undo the changes to the process's logging by a test that runs a command or a service."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    names = ("arq", "arq.worker", "aiohttp.access", "asyncio")
    levels = {name: logging.getLogger(name).level for name in names}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    for name, was in levels.items():
        logging.getLogger(name).setLevel(was)
    structlog.reset_defaults()


@dataclass(frozen=True, slots=True)
class StoreUnderTest:
    """Where a test stores its data. No other test uses this partition."""

    url: str
    partition: str


@pytest.fixture(scope="session")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[embedded_store.EmbeddedStore]:
    server = embedded_store.start(
        tmp_path_factory.mktemp("store"), environ={"PATH": os.environ.get("PATH", "")}
    )
    yield server
    server.stop()


@pytest.fixture
def store(_server: embedded_store.EmbeddedStore) -> Iterator[StoreUnderTest]:
    """Yield a real store and a partition that no other test uses.

    It is emptied afterwards, because some tests read all of it.
    """
    yield StoreUnderTest(_server.url, f"t{next(_numbers)}")
    with redis.Redis.from_url(_server.url) as connection:
        connection.flushall()


@pytest_asyncio.fixture
async def redis_client(store: StoreUnderTest) -> AsyncIterator[Redis]:
    """Yield a plain connection to the store under test. Replies are bytes."""
    connection: Redis = Redis.from_url(store.url, decode_responses=False)
    yield connection
    await connection.aclose()


@pytest.fixture
def short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let WAIT give up soon, for tests in which the replica that it waits for does not exist."""
    monkeypatch.setattr("sendwindow.scripts.WAIT_MS", 20)


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the folder of the checkout."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def newest_redis() -> Path:
    """Return a folder for PYTHONPATH with redis-py's newest release.

    The environment itself has the release that arq demands.
    """
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    folder = Path(sys.prefix) / "newest-redis" / "lib" / version / "site-packages"
    assert (folder / "redis").is_dir(), f"{folder} is missing: run the tests with ./run test"
    return folder
