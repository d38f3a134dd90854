"""Scripts: assembled from key names, shared prelude and body; run by digest, by text when unknown."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from redis.asyncio import Redis

from sendwindow.exchange import CANCEL, ENQUEUE
from sendwindow.keys import lua_prelude
from sendwindow.scripts import Script, load_script

if TYPE_CHECKING:
    from tests.conftest import StoreUnderTest


def test_a_script_is_assembled_in_order() -> None:
    """First line, key names, shared prelude, extra prelude, body."""
    source = load_script("enqueue", prelude="local EXTRA = 1").source
    parts = ["#!lua\n", lua_prelude(), "local function to_lane", "local EXTRA = 1", "local WIDTH"]
    places = [source.index(part) for part in parts]
    assert places == sorted(places)
    assert places[0] == 0


def test_flags_stand_in_the_first_line() -> None:
    """The server reads them there and nowhere else."""
    assert load_script("cancel", flags=["allow-oom", "no-cluster"]).source.startswith(
        "#!lua flags=allow-oom,no-cluster\n"
    )
    assert CANCEL.source.startswith("#!lua flags=allow-oom\n")


def test_enqueue_is_refused_by_a_full_store() -> None:
    """It must not carry allow-oom: new work stops, so that what is queued can drain."""
    assert ENQUEUE.source.startswith("#!lua\n")


def test_another_package_brings_its_own_scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The body comes from that package's lua folder, the shared prelude stays ours."""
    (tmp_path / "a_package_of_scripts" / "lua").mkdir(parents=True)
    (tmp_path / "a_package_of_scripts" / "__init__.py").write_text("")
    (tmp_path / "a_package_of_scripts" / "lua" / "body.lua").write_text("return 42")
    monkeypatch.syspath_prepend(str(tmp_path))
    script = load_script("body", package="a_package_of_scripts")
    assert script.source.endswith("return 42")
    assert "local function to_lane" in script.source


@pytest.mark.asyncio
async def test_a_script_may_be_called_before_anything_was_loaded(store: "StoreUnderTest", redis_client: Redis) -> None:
    """NOSCRIPT is answered with the text, which the server keeps."""
    script = Script("probe", f"#!lua\nreturn {{KEYS[1], ARGV[1], '{store.partition}'}}")
    meta = f"sw:{{{store.partition}}}:meta"
    expected: list[Any] = [meta.encode(), b"1", store.partition.encode()]
    assert await script(redis_client, meta, [1]) == expected
    assert await redis_client.script_exists(script.sha) == [True]
    assert await script(redis_client, meta, [1]) == expected
