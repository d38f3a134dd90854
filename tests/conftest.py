"""What the tests share: one private, real server for each pytest process, and a partition of its own for each test."""

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
from worker import embedded

# The same examples every time, so that a red run is red for everybody; `./run test --all` looks for new ones.
# `./run test` takes a few of them, and `./run test PATH` all.
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
    """Show them at the top, also where every test is green."""
    return None if config.option.markexpr == "not long" else told(seeds())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show them below again, with what became of each, where the nemesis ran."""
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
    """Undo what a test that runs a command or a service in this process says about the whole process's logs."""
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
    """Where a test stores things. No other test uses this partition."""

    url: str
    partition: str


@pytest.fixture(scope="session")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[embedded.EmbeddedStore]:
    server = embedded.start(tmp_path_factory.mktemp("store"), environ={"PATH": os.environ.get("PATH", "")})
    yield server
    server.stop()


@pytest.fixture
def store(_server: embedded.EmbeddedStore) -> Iterator[StoreUnderTest]:
    """A real store and a partition that no other test uses. Emptied afterwards: some tests read all of it."""
    yield StoreUnderTest(_server.url, f"t{next(_numbers)}")
    with redis.Redis.from_url(_server.url) as connection:
        connection.flushall()


@pytest_asyncio.fixture
async def redis_client(store: StoreUnderTest) -> AsyncIterator[Redis]:
    """A plain connection to the store under test; answers are bytes."""
    connection: Redis = Redis.from_url(store.url, decode_responses=False)
    yield connection
    await connection.aclose()


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the checkout."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def newest_redis() -> Path:
    """A folder for PYTHONPATH that holds redis-py's newest release; the environment itself has the one arq demands."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    folder = Path(sys.prefix) / "newest-redis" / "lib" / version / "site-packages"
    assert (folder / "redis").is_dir(), f"{folder} is missing: run the tests with ./run test"
    return folder
