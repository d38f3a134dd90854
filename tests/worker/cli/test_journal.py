"""A command whose journal is full reports that, and what it has done nevertheless."""

import asyncio
from pathlib import Path

import pytest

from tests.conftest import StoreUnderTest
from tests.support.cli_world import command_line
from tests.support.stores_world import DEAD, opened
from worker.cli.exit_codes import Exit


def test_a_decision_whose_line_has_no_room_is_reported(
    store: StoreUnderTest,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A decision without room for its line is reported in one sentence, not as a stack trace.

    The last decision stands, and `verify` will not know of it.
    """

    async def die() -> None:
        async with opened(store) as world:
            await world.settle(await world.post("one"), DEAD)

    asyncio.run(die())
    command = command_line(store, tmp_path, capsys, monkeypatch)
    answer = command("dead", "drop", "one", "--journal", "/dev/full")
    assert answer.code == Exit.FAILED
    assert answer.err.startswith(
        "error: The journal can no longer be written (No space left on device). The last action"
    )
    assert "Traceback" not in answer.err
