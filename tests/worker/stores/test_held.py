"""A jump of errors about persons at one sender: their effects are held until an operator
decides.
"""

import asyncio
import io
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
import structlog

from policies.facts import Holds, PersonFact
from policies.policy import ErrorGuard
from sendwindow.scripts import execute
from sendwindow.vocabulary import Reason, Stage
from tests.conftest import StoreUnderTest
from tests.support.cast import ANNA, whatsapp
from tests.support.cli_world import CommandLine, command_line
from tests.support.shipped import rules
from tests.support.stores_world import ACCOUNT, SENDER, Place, World, accepted, opened
from worker.cli.exit_codes import Exit
from worker.pipeline.alerts import HeldEffectsAlert
from worker.ports.effects import Effect, HoldBack, SuppressAddress
from worker.ports.settlements import SettleEnd
from worker.telemetry.journal import Journal

FAILED: Final = SettleEnd(Stage.FAILED, Reason.PROVIDER_REFUSED, 63024)
GUARD: Final = ErrorGuard(attempts=20, most_percent=50, most_errors=2)
SUPPRESSED: Final = SuppressAddress(3600, "code 63024", guard=GUARD)
BLOCK: Final = HoldBack(
    Holds.ALL_BUT_REPLIES,
    Holds.MARKETING,
    0,
    until_inbound=True,
    sender_only=False,
    code=63014,
    guard=GUARD,
)


async def attempt(
    world: World, index: int, *effects: Effect, sender: str = SENDER, late: bool = False
) -> None:
    """Make one attempt to a new person. With effects it fails."""
    name = f"{sender}-{index}"
    await world.enqueue(name, to=whatsapp(index), sender=sender)
    claimed = await world.claim_one()
    await world.admit(claimed, sender=sender)
    if late or not effects:
        await world.settle(claimed, accepted(f"SM{name}"), sender=sender)
    if effects and late:
        await world.callback("failed", f"SM{name}", message_id=name, effects=effects)
    elif effects:
        await world.settle(claimed, FAILED, sender=sender, effects=effects)


async def person(world: World, index: int, sender: str = SENDER) -> PersonFact:
    return (await world.store.people.facts(whatsapp(index), sender, ACCOUNT, None)).person


async def suppressed(world: World, many: int, sender: str = SENDER) -> list[bool]:
    return [
        (await person(world, index, sender)).suppressed_until is not None for index in range(many)
    ]


@pytest.mark.asyncio
@pytest.mark.parametrize("late", [False, True], ids=["by-reply", "by-callback"])
async def test_a_jump_of_errors_is_kept_aside_and_others_go_on(store: Place, late: bool) -> None:
    """Effects are held from the third error on, if more than half of the last attempts failed."""
    async with opened(store) as world:
        for index in range(5):
            await attempt(world, index, SUPPRESSED, late=late)
        assert await suppressed(world, 5) == [True, True, False, False, False]
        assert await world.store.held.waiting([SENDER, "other"]) == {SENDER: 3}
        for index in range(5, 7):
            await attempt(world, index, SUPPRESSED, sender="other", late=late)
        assert (await person(world, 5)).suppressed_until is not None
        assert await world.store.held.waiting([SENDER, "other"]) == {SENDER: 3}
        assert await world.count("effects_held") == 3
        row = await world.row(f"{SENDER}-4")
        assert row["s"] == ("accepted" if late else "failed")


@pytest.mark.asyncio
async def test_few_errors_among_many_attempts_are_believed(store: Place) -> None:
    """Four errors in ten attempts are applied, because they are not more than half."""
    async with opened(store) as world:
        for index in range(6):
            await attempt(world, 10 + index)
        for index in range(4):
            await attempt(world, index, SUPPRESSED)
        assert await suppressed(world, 4) == [True] * 4


@pytest.mark.asyncio
async def test_what_lies_back_further_than_the_last_attempts_counts_no_more(store: Place) -> None:
    """The guard opens again by itself when later attempts succeed."""
    async with opened(store) as world:
        for index in range(4):
            await attempt(world, index, SUPPRESSED)
        assert await suppressed(world, 4) == [True, True, False, False]
        for index in range(10, 30):
            await attempt(world, index)
        await attempt(world, 5, SUPPRESSED)
        assert (await person(world, 5)).suppressed_until is not None


@pytest.mark.asyncio
@pytest.mark.parametrize("seed", range(6))
async def test_the_guard_counts_as_its_definition_says(store: Place, seed: int) -> None:
    """Over any run of failures and successes the store holds what the plain definition would
    hold.
    """
    chance = random.Random(seed)
    guard = ErrorGuard(
        chance.randint(1, 12), chance.choice([0, 20, 50, 90, 100]), chance.randint(0, 5)
    )
    errors: list[int] = []
    expected = 0
    async with opened(store) as world:
        for made in range(1, 41):
            has_failed = chance.random() < 0.6
            await attempt(world, made, *([replace(SUPPRESSED, guard=guard)] if has_failed else []))
            errors += [made] if has_failed else []
            recent = sum(number > made - guard.attempts for number in errors)
            share = guard.most_percent * min(made, guard.attempts)
            expected += has_failed and recent > guard.most_errors and recent * 100 > share
            assert (await world.store.held.waiting([SENDER])).get(SENDER, 0) == expected


@pytest.mark.asyncio
async def test_what_the_guard_counts_stays_bounded(store: Place) -> None:
    """The store keeps only as many errors as it needs to see that there are too many."""
    async with opened(store) as world:
        for index in range(30):
            await attempt(world, index, SUPPRESSED)
        assert await world.redis.zcard(world.keys.errors_of(SENDER)) <= 11
        assert await world.store.held.waiting([SENDER]) == {SENDER: 28}


@pytest.mark.asyncio
async def test_an_error_heard_twice_is_kept_once(store: Place) -> None:
    """A repeated callback or settlement holds nothing twice."""
    async with opened(store) as world:
        for index in range(4):
            await attempt(world, index, SUPPRESSED, late=True)
        for _ in range(2):
            await world.callback(
                "undelivered", f"SM{SENDER}-3", message_id=f"{SENDER}-3", effects=(SUPPRESSED,)
            )
        assert await world.store.held.waiting([SENDER]) == {SENDER: 2}


@pytest.mark.asyncio
async def test_applied_it_counts_from_its_attempt_and_the_persons_act_since_outranks_it(
    store: Place,
) -> None:
    """Held effects that an operator applies count from their attempts, so a person who wrote
    since stays reachable.
    """
    async with opened(store) as world:
        for index in range(5):
            await attempt(world, index, BLOCK)
        await world.later(seconds=1)
        await world.writes(address=whatsapp(4))
        assert await world.store.held.decide("apply", SENDER, 2) == 2
        assert await world.store.held.waiting([SENDER]) == {SENDER: 1}
        assert await world.store.held.decide("apply", SENDER, 100) == 1
        assert [len((await person(world, index)).blocks) for index in range(5)] == [1, 1, 1, 1, 0]
        assert await world.store.held.waiting([SENDER]) == {}


@pytest.mark.asyncio
async def test_discarded_it_teaches_nothing(store: Place) -> None:
    """Discarded effects suppress no address: the fault was the provider's."""
    async with opened(store) as world:
        for index in range(5):
            await attempt(world, index, SUPPRESSED)
        assert await world.store.held.decide("discard", SENDER, 100) == 3
        assert await suppressed(world, 5) == [True, True, False, False, False]


@pytest.mark.asyncio
async def test_what_holds_no_room_is_counted(store: Place) -> None:
    """The list of held effects is bounded, and a total counts those without room."""
    async with opened(store) as world:
        await execute(world.redis, "RPUSH", world.keys.held(SENDER), *["{}"] * 10_000)
        for index in range(4):
            await attempt(world, index, SUPPRESSED)
        assert await execute(world.redis, "LLEN", world.keys.held(SENDER)) == 10_000
        assert await world.count("effects_dropped") == 2


@pytest.mark.asyncio
async def test_a_worker_says_loudly_what_waits_and_once(store: Place) -> None:
    """The log reports held effects as an error with sender, number and command, again only when
    there are more.
    """
    out = io.StringIO()
    log = structlog.wrap_logger(
        structlog.PrintLogger(out),
        processors=[structlog.processors.add_log_level, lambda _l, _m, e: json.dumps(e)],
    )
    async with opened(store) as world:
        watch = HeldEffectsAlert(world.store.held, [SENDER, "other"], log)
        await watch.turn()
        for index in range(4):
            await attempt(world, index, SUPPRESSED)
            await watch.turn()
        await watch.turn()
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [(line["event"], line["level"], line["sender"], line["waiting"]) for line in lines] == [
        ("effects_held", "error", SENDER, 1),
        ("effects_held", "error", SENDER, 2),
    ]
    assert "contact held" in lines[0]["remedy"]


@pytest.mark.asyncio
async def test_allowed_a_person_is_reached_again_and_older_errors_teach_no_more(
    store: Place,
) -> None:
    """`allow` ends all effects of errors, also caps with a term, but no wish of the person.

    Older errors have no effect any more.
    """
    cap = HoldBack(
        Holds.MARKETING, Holds.MARKETING, 86_400, until_inbound=False, sender_only=True, code=63049
    )
    plain = replace(SUPPRESSED, guard=None)
    async with opened(store) as world:
        await attempt(world, 0, plain, replace(BLOCK, guard=None), cap)
        await world.accept("late", "SMlate", to=whatsapp(0))
        await world.writes(keyword="stop", address=ANNA)
        assert await world.store.people.allow(whatsapp(0)) == 3
        someone = await person(world, 0)
        assert (someone.suppressed_until, someone.blocks) == (None, ())
        await world.callback("failed", "SMlate", message_id="late", effects=(plain, cap))
        someone = await person(world, 0)
        assert (someone.suppressed_until, someone.blocks) == (None, ())
        await world.store.people.allow(ANNA)
        stopped = (await world.store.people.facts(ANNA, SENDER, ACCOUNT, None)).person
        assert any(not one.granted for one in stopped.consents)


def test_the_shipped_guard_is_a_thousand_attempts_five_percent_and_fifty() -> None:
    """The shipped policy's guard is a thousand attempts, five percent and fifty errors."""
    assert rules().policy.error_guard == ErrorGuard(1000, 5, 50)


# -- the command ---------------------------------------------------------------------------------


@pytest.fixture
def command(
    store: StoreUnderTest,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> CommandLine:
    return command_line(store, tmp_path, capsys, monkeypatch)


def fail(store: StoreUnderTest, many: int, *effects: Effect) -> None:
    """Let that many attempts fail."""

    async def run() -> None:
        async with opened(store) as world:
            for index in range(many):
                await attempt(world, index, *effects)

    asyncio.run(run())


def test_what_is_kept_aside_is_shown_and_decided_only_when_meant(
    command: CommandLine, store: StoreUnderTest
) -> None:
    """Without --yes nothing changes, and `doctor` names the sender until an operator decides."""
    fail(store, 5, SUPPRESSED)
    [row] = command("contact", "held", "--json").objects
    assert (row["sender"], row["waiting"], row["reasons"]) == (SENDER, 3, {"code 63024": 3})
    dry = command("contact", "held", "apply")
    assert dry.code == Exit.DONE
    assert "--yes" in dry.out
    assert whatsapp(4) not in dry.out
    warnings = {
        line["what"]: line["finding"]
        for line in command("doctor", "--json").objects
        if line["mark"] != "ok"
    }
    assert "contact held" in warnings[f"errors of {SENDER}"]
    assert (
        "applied: 3 effects" in command("contact", "held", "apply", "--sender", SENDER, "--yes").out
    )
    assert command("contact", "held", "--json").objects == []
    [shop] = [
        one
        for one in command("contact", whatsapp(4), "--json").objects[0]["senders"]
        if one["sender"] == SENDER
    ]
    assert shop["code"] == "63024"


def test_what_is_kept_aside_can_be_discarded(command: CommandLine, store: StoreUnderTest) -> None:
    """Held effects can be discarded, and the JSON answer is one object."""
    fail(store, 3, SUPPRESSED)
    answer = command("contact", "held", "discard", "--yes", "--json")
    assert answer.objects[-1] == {"discarded": 1}
    assert command("contact", "held", "discard", "--yes").out.endswith("discarded: 0 effects\n")


def test_a_suppression_and_a_block_are_shown_with_code_and_end_and_lifted(
    command: CommandLine, store: StoreUnderTest
) -> None:
    """`contact` shows code and end of a suppression or block, and `contact allow` ends it.

    Neither repeats the address.
    """
    fail(store, 1, SUPPRESSED, BLOCK)
    told = command("contact", "show", whatsapp(0), "--json").objects[0]
    [block] = [one for one in told["blocks"] if one["sender"] == SENDER]
    assert (block["held"], block["code"], block["until"]) == (
        "all_but_replies",
        63014,
        "the person writes",
    )
    shop = told["senders"][0]
    assert shop["code"] == "63024"
    assert shop["suppressed"]
    shown = command("contact", whatsapp(0)).out
    assert "Held back after errors" in shown
    assert whatsapp(0) not in shown
    answer = command("contact", "allow", whatsapp(0))
    assert (answer.code, whatsapp(0) in answer.out + answer.err) == (Exit.DONE, False)
    assert "ended: 2" in answer.out
    after = command("contact", whatsapp(0), "--json").objects[0]
    assert after["blocks"] == []
    assert (after["senders"][0]["suppressed"], after["senders"][0]["code"]) == (None, None)
    assert command("contact", "allow", whatsapp(0), "--json").objects == [
        {"person": after["person"], "lifted": 0}
    ]


def test_who_was_allowed_is_journalled(command: CommandLine, tmp_path: Path) -> None:
    """`contact allow` is journaled by digest, dated before the store was asked; looking writes
    nothing. A worker may see the change at once.
    """
    journal = tmp_path / "allowed.jsonl"
    before = Journal(None, "test").now()
    answer = command("contact", "allow", whatsapp(0), "--journal", str(journal), "--json")
    assert command("contact", whatsapp(0), "--journal", str(journal)).code == Exit.DONE
    [line] = [json.loads(text) for text in journal.read_text().splitlines()]
    assert (line["e"], line["person"]) == ("allowed", answer.objects[0]["person"])
    assert line["t"] >= before
    assert whatsapp(0) not in journal.read_text()


def test_a_decision_about_held_effects_is_journalled_before_it_takes_effect(
    command: CommandLine, store: StoreUnderTest, tmp_path: Path
) -> None:
    """`contact held apply` journals sender, decision and number; a dry run writes nothing."""
    fail(store, 5, SUPPRESSED)
    journal = tmp_path / "held.jsonl"
    for meant in ((), ("--yes",)):
        command("contact", "held", "apply", *meant, "--journal", str(journal))
    [line] = [json.loads(text) for text in journal.read_text().splitlines()]
    assert (line["e"], line["sender"], line["decision"], line["effects"]) == (
        "held_effects",
        SENDER,
        "apply",
        3,
    )


@pytest.mark.parametrize(
    "line",
    [
        "contact allow",
        "contact held maybe",
        "contact held apply now",
        "contact held --sender nobody",
    ],
)
def test_words_that_say_nothing_are_refused(command: CommandLine, line: str) -> None:
    """Missing or unknown arguments of `contact allow` and `contact held` are usage errors with a
    sentence.
    """
    answer = command(*line.split())
    assert answer.code == Exit.USAGE
    assert answer.err


def test_an_end_of_a_block_is_told_in_words(command: CommandLine, store: StoreUnderTest) -> None:
    """The end of a block is its instant, or in words the actor who ends it."""
    cap = HoldBack(
        Holds.MARKETING, Holds.MARKETING, 86_400, until_inbound=False, sender_only=True, code=63049
    )
    endless = replace(cap, seconds=0, code=30640, sender_only=False)
    fail(store, 1, cap, endless)
    ends = {
        one["code"]: one["until"]
        for one in command("contact", whatsapp(0), "--json").objects[0]["blocks"]
    }
    assert ends[30640] == "an operator allows it"
    assert "T" in ends[63049]
