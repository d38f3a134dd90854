"""Scripts consist of key names, prelude and body. They run by digest, or by text when unknown."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from redis.asyncio import Redis

from sendwindow.keys import lua_prelude
from sendwindow.protocol import CANCEL, ENQUEUE
from sendwindow.scripts import Script, load_script

if TYPE_CHECKING:
    from tests.conftest import StoreUnderTest


def test_a_script_is_assembled_in_order() -> None:
    """A script is its first line, key names, shared prelude, extra prelude, and body."""
    source = load_script("enqueue", prelude="local EXTRA = 1").source
    parts = ["#!lua\n", lua_prelude(), "local function to_lane", "local EXTRA = 1", "local WIDTH"]
    places = [source.index(part) for part in parts]
    assert places == sorted(places)
    assert places[0] == 0


def test_flags_stand_in_the_first_line() -> None:
    """A script's flags are in its first line, the only place where the server reads them."""
    assert load_script("cancel", flags=["allow-oom", "no-cluster"]).source.startswith(
        "#!lua flags=allow-oom,no-cluster\n"
    )
    assert CANCEL.source.startswith("#!lua flags=allow-oom\n")


def test_enqueue_is_refused_by_a_full_store() -> None:
    """Enqueue lacks allow-oom, so that a full store refuses new work and drains."""
    assert ENQUEUE.source.startswith("#!lua\n")


def test_another_package_brings_its_own_scripts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another package's body comes from its own lua folder, with our shared prelude."""
    (tmp_path / "a_package_of_scripts" / "lua").mkdir(parents=True)
    (tmp_path / "a_package_of_scripts" / "__init__.py").write_text("")
    (tmp_path / "a_package_of_scripts" / "lua" / "body.lua").write_text("return 42")
    monkeypatch.syspath_prepend(str(tmp_path))
    script = load_script("body", package="a_package_of_scripts")
    assert script.source.endswith("return 42")
    assert "local function to_lane" in script.source


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
