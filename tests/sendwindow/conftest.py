"""Fixtures of the producers' tests."""

from functools import partial
from typing import TYPE_CHECKING

import pytest
import redis

from tests.sendwindow.rig import Open, Start, a_server, opened

if TYPE_CHECKING:
    from tests.conftest import StoreUnderTest
    from worker.runtime.embedded_store import EmbeddedStore


@pytest.fixture(params=["asyncio", "blocking"])
def open_any(request: pytest.FixtureRequest) -> Open:
    """Return a function that opens a producer at any URL. Each test runs with both producers."""
    return partial(opened, request.param)


@pytest.fixture
def open_here(open_any: Open, store: "StoreUnderTest") -> Open:
    """Return a function that opens a producer at the store and partition under test."""
    return partial(open_any, store.url, store.partition)


@pytest.fixture(scope="session")
def start_server(_server: "EmbeddedStore") -> Start:
    """Return a function that starts further servers with the program of the store under test."""
    with redis.Redis.from_url(_server.url) as connection:
        return partial(a_server, connection.info("server")["executable"])
