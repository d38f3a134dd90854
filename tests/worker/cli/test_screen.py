"""What commands print for people fits a screen of 80 columns, and writes every instant in one
form.
"""

import asyncio
import json
import re
from datetime import timedelta

import pytest

from tests.conftest import StoreUnderTest
from tests.support.cast import ANNA
from tests.support.cli_world import GOOD, CommandLine
from tests.support.stores_world import DEAD, opened
from worker.ports.people import Inbound

COMMANDS = (
    ("show", "an-accepted-message"),
    ("show", "a-dead-letter"),
    ("explain", json.dumps(GOOD | {"message_id": "explained"})),
    ("contact", ANNA),
    ("contact", "held"),
    ("consent", "suspected"),
    ("dead", "list"),
    ("dead", "show", "a-dead-letter"),
    ("retry", "--all"),
    ("unknown", "list"),
    ("tags", "list"),
    ("templates", "list"),
    ("lanes",),
    ("processes",),
    ("doctor",),
)
"""Commands that read and print."""

INSTANT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d\S*")


@pytest.fixture
def busy(store: StoreUnderTest, command: CommandLine) -> CommandLine:
    """Return a command line whose store has something for each list."""
    for purpose in ("utility", "marketing"):
        assert command("consent", "grant", ANNA, "--purpose", purpose).code == 0

    async def play() -> None:
        async with opened(store) as world:
            await world.accept("an-accepted-message")
            await world.settle(await world.post("a-dead-letter"), DEAD)
            await world.park("an-unknown-message-with-quite-a-long-name")
            sid = "SM" + "5" * 32
            await world.store.people.apply_inbound(
                [Inbound(sid, "shop", "main", ANNA, "suspected")]
            )
            await world.later(hours=3)
            await world.store.set_offset(timedelta())

    asyncio.run(play())
    return command


def test_every_line_fits_and_every_instant_has_one_form(busy: CommandLine) -> None:
    """No line is wider than 80 columns, and an instant is UTC to the second, as options take it."""
    instants = 0
    for words in COMMANDS:
        answer = busy(*words)
        assert answer.out, words
        assert "Traceback" not in answer.err
        for line in answer.out.splitlines():
            assert len(line) <= 80, (words, line)
            for instant in INSTANT.findall(line):
                assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", instant.rstrip(",")), line
                instants += 1
    assert instants > 10
