"""Scripts are sent by digest, or by text when the store does not know them."""

from typing import TYPE_CHECKING, Any

import pytest
from redis.asyncio import Redis

from sendwindow.protocol import CANCEL, ENQUEUE
from sendwindow.script_names import SOURCES
from sendwindow.scripts import Script, load_script

if TYPE_CHECKING:
    from tests.conftest import StoreUnderTest


def test_flags_stand_in_the_first_line() -> None:
    """A script's flags are in its first line, the only place where the server reads them."""
    assert load_script("cancel", SOURCES, flags=["allow-oom", "no-cluster"]).source.startswith(
        "#!lua flags=allow-oom,no-cluster\n"
    )
    assert CANCEL.source.startswith("#!lua flags=allow-oom\n")


def test_enqueue_is_refused_by_a_full_store() -> None:
    """Enqueue lacks allow-oom, so that a full store refuses new work and drains."""
    assert ENQUEUE.source.startswith("#!lua\n")


@pytest.mark.asyncio
async def test_a_script_may_be_called_before_anything_was_loaded(
    store: "StoreUnderTest", redis_client: Redis
) -> None:
    """A script may be called before it was loaded: NOSCRIPT is answered with its text."""
    script = Script("probe", f"#!lua\nreturn {{KEYS[1], ARGV[1], '{store.partition}'}}")
    meta = f"sw:{{{store.partition}}}:meta"
    expected: list[Any] = [meta.encode(), b"1", store.partition.encode()]
    assert await script(redis_client, meta, [1]) == expected
    assert await redis_client.script_exists(script.sha) == [True]
    assert await script(redis_client, meta, [1]) == expected
