"""Fixtures of the producers' tests."""

from functools import partial
from typing import TYPE_CHECKING

import pytest
import redis

from tests.sendwindow.rig import Open, Start, a_server, opened

if TYPE_CHECKING:
    from tests.conftest import StoreUnderTest
    from worker.embedded import EmbeddedStore


@pytest.fixture(params=["asyncio", "blocking"])
def open_any(request: pytest.FixtureRequest) -> Open:
    """Open a producer at any URL; every test that asks runs with both producers."""
    return partial(opened, request.param)


@pytest.fixture
def open_here(open_any: Open, store: "StoreUnderTest") -> Open:
    """Open a producer at the store and partition under test."""
    return partial(open_any, store.url, store.partition)


@pytest.fixture(scope="session")
def start_server(_server: "EmbeddedStore") -> Start:
    """Start further servers with the program that the store under test runs."""
    with redis.Redis.from_url(_server.url) as connection:
        return partial(a_server, connection.info("server")["executable"])
