"""`store restored`: what it prints first, what it refuses, and what its mark does meanwhile."""

import asyncio

from tests.conftest import StoreUnderTest
from tests.support.cli_world import CommandLine
from tests.support.processes_world import report_of
from tests.support.stores_world import PAST, opened
from worker.cli.exit_codes import Exit


async def queued(store: StoreUnderTest, *, alive: bool = False, marked: bool = False) -> None:
    async with opened(store) as world:
        await world.enqueue()
        if alive:
            await world.store.processes.report(report_of())
        if marked:
            await world.store.restored.begin(PAST)


async def stage(store: StoreUnderTest) -> str:
    async with opened(store) as world:
        return (await world.row())["s"]


def test_without_yes_nothing_is_done(command: CommandLine, store: StoreUnderTest) -> None:
    """Without --yes it prints the instant that it takes for the copy's, and what is open."""
    asyncio.run(queued(store))
    answer = command("store", "restored", "--since", PAST.isoformat())
    assert answer.code == Exit.DONE
    assert f"{PAST.year}-" in answer.out
    assert asyncio.run(stage(store)) == "queued"


def test_a_store_without_a_life_sign_needs_an_instant(
    command: CommandLine, store: StoreUnderTest
) -> None:
    """A store without a sign of life needs an instant from the operator.

    A later one would send messages of the gap again.
    """
    asyncio.run(queued(store))
    answer = command("store", "restored")
    assert answer.code == Exit.USAGE
    assert "--since" in answer.err


def test_a_living_process_is_refused(command: CommandLine, store: StoreUnderTest) -> None:
    """A living process is refused, because a worker would send meanwhile."""
    asyncio.run(queued(store, alive=True))
    answer = command("store", "restored", "--yes")
    assert answer.code == Exit.FAILED
    assert "1 process of the service is alive" in answer.err


def test_an_instant_to_come_is_refused(command: CommandLine, store: StoreUnderTest) -> None:
    """A future instant is refused, because searches would begin after their messages."""
    asyncio.run(queued(store))
    assert command("store", "restored", "--since", "2099-01-01T00:00:00+00:00").code == Exit.USAGE


def test_twilio_away_keeps_the_mark_and_doctor_says_so(
    command: CommandLine, store: StoreUnderTest
) -> None:
    """While Twilio is away the mark stays, `doctor` says so, and the command can be repeated.

    A STOP of the gap is still unknown, so no message may go out.
    """
    asyncio.run(queued(store))
    answer = command("store", "restored", "--yes", "--since", PAST.isoformat())
    assert answer.code == Exit.FAILED
    assert "stays marked" in answer.err
    assert asyncio.run(stage(store)) == "queued"
    seen = command("doctor", "--json")
    assert seen.code == Exit.FAILED
    [line] = [line for line in seen.objects if line["what"] == "restored"]
    assert "store restored --yes" in line["finding"]
