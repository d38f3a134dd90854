"""`store restored`: what it says before it does anything, what it refuses, and what the mark does meanwhile."""

import asyncio
from pathlib import Path

import pytest

from tests.conftest import StoreUnderTest
from tests.worker.commands_world import CommandLine, command_line
from tests.worker.stores_world import PAST, opened
from worker.commands.exits import Exit


@pytest.fixture
def command(
    store: StoreUnderTest, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> CommandLine:
    return command_line(store, tmp_path, capsys, monkeypatch)


async def queued(store: StoreUnderTest, *, alive: bool = False, marked: bool = False) -> None:
    async with opened(store) as world:
        await world.enqueue()
        if alive:
            await world.store.processes.note("worker", {})
        if marked:
            await world.store.restored.begin(PAST)


async def stage(store: StoreUnderTest) -> str:
    async with opened(store) as world:
        return (await world.row())["s"]


def test_without_yes_nothing_is_done(command: CommandLine, store: StoreUnderTest) -> None:
    """It says of which instant it takes the copy to be, and what is open."""
    asyncio.run(queued(store))
    answer = command("store", "restored", "--since", PAST.isoformat())
    assert answer.code == Exit.DONE
    assert f"{PAST.year}-" in answer.out
    assert asyncio.run(stage(store)) == "queued"


def test_a_store_without_a_life_sign_needs_an_instant(command: CommandLine, store: StoreUnderTest) -> None:
    """Any instant it made up could be too late, and a message of the gap would go out again."""
    asyncio.run(queued(store))
    answer = command("store", "restored")
    assert answer.code == Exit.USAGE
    assert "--since" in answer.err


def test_a_living_process_is_refused(command: CommandLine, store: StoreUnderTest) -> None:
    """A worker would send meanwhile."""
    asyncio.run(queued(store, alive=True))
    answer = command("store", "restored", "--yes")
    assert answer.code == Exit.FAILED
    assert "1 process of the service is alive" in answer.err


def test_an_instant_to_come_is_refused(command: CommandLine, store: StoreUnderTest) -> None:
    """Searches would begin after the messages they are for."""
    asyncio.run(queued(store))
    assert command("store", "restored", "--since", "2099-01-01T00:00:00+00:00").code == Exit.USAGE


def test_twilio_away_keeps_the_mark_and_doctor_says_so(command: CommandLine, store: StoreUnderTest) -> None:
    """A STOP of the gap is not known yet, so nothing may go out; the command is repeated."""
    asyncio.run(queued(store))
    answer = command("store", "restored", "--yes", "--since", PAST.isoformat())
    assert answer.code == Exit.FAILED
    assert "stays marked" in answer.err
    assert asyncio.run(stage(store)) == "queued"
    seen = command("doctor", "--json")
    assert seen.code == Exit.FAILED
    [line] = [line for line in seen.objects if line["what"] == "restored"]
    assert "store restored --yes" in line["finding"]
