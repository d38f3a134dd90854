"""The whole service under faults: no message lost, doubled, against policy, or unexplained."""

import asyncio
import json
import signal
import socket
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from tests.chaos.nemesis import Nemesis, Result
from tests.chaos.plan import FEW, LONG, SHORT, Doses, Fault, message, plan
from tests.chaos.seeds import HOW_MANY, VARIABLE, seeds, told
from tests.chaos.stop_at import POINTS
from tests.depth import examples
from verify.journal_reader import read
from verify.report import render

SLOTS = 25


def run(folder: Path, seed: int, doses: Doses) -> Result:
    """Run once, and print the seed before it and the report after it. pytest shows both for a
    red run.
    """
    Console(width=160).print(told((seed,)), highlight=False)
    result = asyncio.run(Nemesis(folder, seed, doses).run())
    console = Console(width=160)
    console.print(
        f"seed {seed}, {result.seconds:.0f} s, {dict(result.done)}, left {result.listed}",
        highlight=False,
    )
    worst = crash_unknowns(folder / "journals").most_common(3)
    console.print(f"most unknown outcomes of one worker that was gone: {worst}", highlight=False)
    render(result.report, console)
    return result


def crash_unknowns(journals: Path) -> Counter[str]:
    """Return how many outcomes became unknown because their worker died, by that worker."""
    holders: dict[str, str] = {}
    unknown: Counter[str] = Counter()
    for line in read(sorted(journals.glob("*.jsonl"))).lines:
        if line["e"] == "claimed":
            holders[line["id"]] = line["who"]
        elif line["e"] == "reaped" and line["stage"] == "unknown":
            unknown[holders[line["id"]]] += 1
    return unknown


def check(result: Result, doses: Doses) -> None:
    """Check the promises of a run, and that it had its doses. Too few faults prove nothing."""
    counts = result.report.counts
    assert result.report.ok, told((result.seed,))
    assert not result.report.unchecked
    assert counts.messages >= doses.messages
    assert counts.lost == 0
    assert counts.duplicates == counts.duplicates_allowed
    assert set(counts.open) <= {"unresolved"}
    assert counts.open.get("unresolved", 0) == result.listed["unresolved"]
    for point in POINTS:
        assert counts.killed.get(point, 0) >= doses.each_point
    assert result.done == Counter(step.point or step.fault for step in plan(result.seed, doses))
    # A process may be asked to stop before Python has loaded, when it has no work yet.
    assert set(result.exit_codes) <= {0, -signal.SIGTERM}
    # At most one unknown outcome a connection of each killed process; a freeze may add as many.
    unknown = crash_unknowns(result.folder / "journals")
    assert sum(count > SLOTS for count in unknown.values()) <= doses.freezes
    assert max(unknown.values(), default=0) <= 2 * SLOTS
    kills = sum(counts.killed.values())
    assert (
        counts.reaped
        <= (kills + doses.freezes + doses.store_kills + doses.store_pauses) * SLOTS * 2
    )


def test_a_few_faults_break_no_promise(tmp_path: Path) -> None:
    """A killed worker, a killed store, flushed scripts and a restart lose and double no message,
    and no process of the run is left.
    """
    check(run(tmp_path, 7, FEW), FEW)
    path = json.loads((tmp_path / "store" / "engine.json").read_text())["socket"]
    with (
        socket.socket(socket.AF_UNIX) as connection,
        pytest.raises(OSError, match=r"refused|No such file"),
    ):
        connection.connect(path)


@pytest.mark.long
def test_a_short_run_keeps_every_promise(tmp_path: Path) -> None:
    """A short run with every fault loses and doubles no message.

    Each named point once, a kill, a freeze past the lease, a restart, a killed store.
    """
    check(run(tmp_path, 7, SHORT), SHORT)


@pytest.mark.long
@pytest.mark.parametrize("seed", seeds())
def test_a_long_run_keeps_every_promise(tmp_path: Path, seed: int) -> None:
    """Three seeds give at least 50,000 messages, a fault for every 500, each point at least 20
    times.
    """
    assert LONG.messages * HOW_MANY >= 50_000
    assert len(plan(seed, LONG)) >= LONG.messages / 500
    assert LONG.each_point * HOW_MANY >= 20
    check(run(tmp_path, seed, LONG), LONG)


def test_a_plan_is_the_same_for_the_same_seed() -> None:
    """The seed that a red run prints repeats its plan."""
    assert plan(5, LONG) == plan(5, LONG)
    assert plan(5, LONG) != plan(6, LONG)


def test_a_plan_hits_every_point() -> None:
    """A plan hits every point, however the seed shuffles."""
    points = Counter(step.point for step in plan(5, LONG) if step.fault is Fault.KILL_AT_POINT)
    assert points == dict.fromkeys(POINTS, LONG.each_point)


def test_every_seed_gives_a_sound_plan() -> None:
    """Every seed gives each fault its number of times, in order, before the last message.

    Every target is a process that exists.
    """
    for seed in range(examples(2000)):
        for doses in (SHORT, LONG) if seed % 10 == 0 else (SHORT,):
            steps = plan(seed, doses)
            points = Counter(step.point for step in steps if step.fault is Fault.KILL_AT_POINT)
            assert points == dict.fromkeys(POINTS, doses.each_point)
            faults = Counter(step.fault for step in steps)
            assert (faults[Fault.KILL], faults[Fault.FREEZE]) == (doses.kills, doses.freezes)
            assert [step.after for step in steps] == sorted(step.after for step in steps)
            assert all(0 <= step.after < doses.messages and step.nth >= 1 for step in steps)
            assert {step.target for step in steps} <= set(range(doses.workers))


def test_no_seed_gives_messages_that_a_list_cannot_tell_apart() -> None:
    """No seed gives two messages that a list cannot tell apart.

    A text to a user id may be any phone's, and the same text twice to one person proves neither.
    """
    for seed in range(examples(2000)):
        drawn = [message(seed, number, SHORT.people) for number in range(10)]
        assert all(each.to.removeprefix("whatsapp:").startswith("+1") for each in drawn)
        assert len(
            {each.model_dump_json(include={"template", "freeform"}) for each in drawn}
        ) == len(drawn)
        assert len({each.message_id for each in drawn}) == len(drawn)


def test_a_message_is_the_same_for_the_same_seed() -> None:
    """A message is the same for the same seed, whatever kills came before it."""
    assert [message(5, number, 60) for number in range(50)] == [
        message(5, number, 60) for number in range(50)
    ]
    assert [message(5, number, 60) for number in range(50)] != [
        message(6, number, 60) for number in range(50)
    ]


def test_seeds_are_drawn_once_and_repeated_when_given() -> None:
    """A process draws seeds once, the processes that it starts use them, and each run draws
    others.
    """
    environ: dict[str, str] = {}
    drawn = seeds(environ)
    assert len(drawn) == len(set(drawn)) == HOW_MANY
    assert seeds(environ) == drawn
    assert seeds({}) != drawn
    assert seeds({VARIABLE: "7, 11"}) == (7, 11)
    assert told((7, 11)) == "nemesis: seeds 7, 11; NEMESIS_SEEDS=7,11 repeats them"
    with pytest.raises(ValueError, match=VARIABLE):
        seeds({VARIABLE: "seven"})
