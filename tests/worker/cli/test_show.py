"""What `show`, `dead` and `unknown` print about a message: names and values for programs."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from sendwindow.row_fields import FOLDED_FIELDS, ROW_FIELDS
from sendwindow.vocabulary import OnUnknown
from tests.conftest import StoreUnderTest
from tests.support.cli_world import CommandLine
from tests.support.stores_world import DEAD, FAR, LATER, opened
from worker.cli.output import Output
from worker.cli.show import FIELDS, as_object, named_row, print_record
from worker.ports.records import Record, SidLine

COMMANDS_PAGE = Path(__file__).parents[3] / "docs" / "commands.md"

INTERNAL: Final = frozenset(
    {"d", "f", "p", "dup", "sr", "w", "li", "pr", "ev", "rs", "us", "el", "ch"}
)
"""Fields of a row that only the store's scripts use: digests, fences, ranks, revisions, a proof on
hold, and where it is listed to expire."""

ROW = {
    "s": "accepted",
    "r": "evidence_list",
    "c": "63016",
    "l": "shop|high|spring",
    "g": "g1",
    "d": "digest-of-content",
    "q": "1763719200000",
    "e": "1763805600000",
    "nb": "1763719200500",
    "u": "resend",
    "n": "3",
    "lf": "2",
    "fa": "1",
    "f": "1763719201000001",
    "i": "1763719202000",
    "p": "person-digest",
    "k": "2",
    "po": "1",
    "x": "1",
    "rd": "1",
    "dup": "1763719201000001",
    "sid": "SM1",
    "a": "2",
    "st": "delivered",
    "sr": "40",
    "z": "1763719203000",
    "v": "2026-11",
    "w": "person-digest|shop",
    "tg": "1 3",
    "fm": "t",
    "li": "list-digest",
    "rs": "1|1700000000000|q|queued|1700000000001",
    "pr": "17",
    "ps": "1",
    "lo": "4",
    "us": "1",
    "ch": "2 a1796131234567890-544",
    "ev": "3:SM2",
    "el": "29395320",
    "sb": "m2",
}
"""A row with every field that a row can have."""

OBJECT = {
    "stage": "accepted",
    "reason": "evidence_list",
    "error_code": 63016,
    "sender": "shop",
    "priority": "high",
    "campaign": "spring",
    "group": "g1",
    "enqueued_at": "2025-11-21T10:00:00+00:00",
    "not_before": "2025-11-21T10:00:00.500000+00:00",
    "expires_at": "2025-11-22T10:00:00+00:00",
    "ended_at": "2025-11-21T10:00:03+00:00",
    "lives": 2,
    "attempts": 3,
    "uncounted_attempts": 1,
    "last_attempt_at": "2025-11-21T10:00:02+00:00",
    "form": "template",
    "account_update_attempts": [1, 3],
    "accepted_attempt": 2,
    "message_sid": "SM1",
    "status": "delivered",
    "policy": "2026-11",
    "on_unknown": "resend",
    "evidence_searches": 4,
    "crashes": 2,
    "poison": True,
    "cancel_asked": True,
    "superseded_by": "m2",
    "redecided": True,
    "perhaps_sent": True,
    "due_at": "2025-11-21T10:00:04+00:00",
    "other_sids": [
        {
            "message_sid": "SM0",
            "attempt": 1,
            "status": "failed",
            "error_code": 30500,
            "sent_again": True,
        }
    ],
}


def play(store: StoreUnderTest, *, dies: bool = False) -> None:
    """Park m1 as unknown, or end it as a dead letter."""

    async def steps() -> None:
        async with opened(store) as world:
            if dies:
                await world.settle(
                    await world.post(campaign="spring", on_unknown=OnUnknown.NEVER), DEAD
                )
            else:
                await world.park()

    asyncio.run(steps())


def test_every_field_of_a_row_is_named_or_internal() -> None:
    """Every field of a row has a name in the output, or is left out on purpose."""
    named = {field.key for field in FIELDS}
    assert named | INTERNAL == ROW_FIELDS.keys() | FOLDED_FIELDS.keys()
    assert not named & INTERNAL
    assert set(ROW) == ROW_FIELDS.keys() | FOLDED_FIELDS.keys()


def test_a_row_is_told_in_stable_names_and_values_of_their_own_kind() -> None:
    """Fields have stable names and typed values: numbers, booleans, nulls, words, instants with
    offset.

    Fields that only the scripts use are left out.
    """
    due_at = datetime(2025, 11, 21, 10, 0, 4, tzinfo=UTC)
    sids = {
        "SM0": SidLine(1, "failed", has_failed=True, was_sent_again=True, code=30500),
        "SM1": SidLine(2, "delivered", has_failed=False, was_sent_again=False, code=None),
    }
    enqueued = {"at": 1763719200000, "e": "enqueued"}
    told = as_object(Record("m1", ROW, (enqueued,), due_at=due_at, sids=sids))
    timeline = [{"at": "2025-11-21T10:00:00+00:00", "e": "enqueued"}]
    assert told == {"message_id": "m1", **OBJECT, "timeline": timeline}
    assert [type(one) for one in told.values()] == [type(one) for one in (told | OBJECT).values()]
    shown = str(told)
    assert not [ROW[key] for key in INTERNAL if key not in {"sr", "pr", "us"} and ROW[key] in shown]


def test_other_sids_are_shown_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    """`show` has a line for each SID of the message that is not its own."""
    sids = {
        "SM0": SidLine(1, "failed", has_failed=True, was_sent_again=True, code=30500),
        "SM2": SidLine(3, "", has_failed=False, was_sent_again=False, code=None),
    }
    print_record(Record("m1", ROW, (), sids=sids), Output(as_json=False))
    shown = [line.split("  ")[-1].strip() for line in capsys.readouterr().out.splitlines()]
    assert "SM0: attempt 1, failed (30500), sent again after it failed" in shown
    assert "SM2: attempt 3, no status yet" in shown


def test_what_a_row_does_not_have_is_told_all_the_same() -> None:
    """Every message has the same names; a missing value is null, zero, false or an empty list."""
    told = as_object(Record("m1", {"s": "queued", "l": "||"}, ()))
    assert list(told) == ["message_id", *OBJECT, "timeline"]
    assert {name: value for name, value in told.items() if value} == {
        "message_id": "m1",
        "stage": "queued",
        "lives": 1,
    }
    assert (told["attempts"], told["poison"], told["error_code"]) == (0, False, None)


def test_instants_of_events_have_one_form() -> None:
    """Instants inside a timeline's events have the form of the event's own instant."""
    at = {"at": 1763719200000, "e": "replayed", "expires": 1763805600000, "due": 1763719200500}
    assert as_object(Record("m1", {"s": "queued"}, (at,)))["timeline"] == [
        {
            "at": "2025-11-21T10:00:00+00:00",
            "e": "replayed",
            "expires": "2025-11-22T10:00:00+00:00",
            "due": "2025-11-21T10:00:00.500000+00:00",
        }
    ]


@pytest.mark.parametrize(
    "odd", [{"c": "none"}, {"tg": "1 x"}, {"fm": "v"}, {"e": "1e300"}, {"l": "shop||"}], ids=str
)
def test_an_unexpected_value_hides_no_message(odd: dict[str, str]) -> None:
    """An unexpected value, of a newer worker or by accident, is shown as far as possible."""
    assert len(named_row(ROW | odd)) == len(FIELDS)


@pytest.mark.parametrize(
    ("words", "dies"),
    [
        (("show", "m1"), True),
        (("dead", "show", "m1"), True),
        (("dead", "list"), True),
        (("unknown", "list"), False),
    ],
    ids=["show", "dead show", "dead list", "unknown list"],
)
def test_every_command_tells_a_message_in_the_same_names(
    command: CommandLine, store: StoreUnderTest, words: tuple[str, ...], dies: bool
) -> None:
    """All four commands describe a message in the same names, with instants that name their
    offset.
    """
    play(store, dies=dies)
    (told,) = command(*words, "--json").objects
    assert list(told) == ["message_id", *OBJECT, "timeline"]
    assert (told["message_id"], told["sender"], told["attempts"]) == ("m1", "shop", 1)
    enqueued_at = datetime.fromisoformat(told["enqueued_at"])
    assert abs(enqueued_at - datetime.fromisoformat(told["timeline"][0]["at"])) == timedelta()
    assert enqueued_at.tzinfo == UTC


def test_a_message_in_a_lane_tells_when_it_is_due(
    command: CommandLine, store: StoreUnderTest
) -> None:
    """A message in a lane shows when it is due, as an instant to programs and as a line in tables.

    An ended message does not.
    """

    async def steps() -> datetime:
        async with opened(store) as world:
            await world.enqueue("later", not_before=FAR)
            await world.settle(await world.post("again"), LATER)
            await world.accept("done")
            return await world.store.now()

    now = asyncio.run(steps())
    due = {
        name: command("show", name, "--json").objects[0]["due_at"]
        for name in ("later", "again", "done")
    }
    assert datetime.fromisoformat(due["later"]) == FAR
    assert (
        timedelta(seconds=50) < datetime.fromisoformat(due["again"]) - now <= timedelta(seconds=60)
    )
    assert due["done"] is None
    assert re.search(
        r"^  next +at 2099-01-01T00:00:00Z$", command("show", "later").out, re.MULTILINE
    )
    assert "  next " not in command("show", "done").out


def test_a_suspect_tells_since_when_it_is_due(command: CommandLine, store: StoreUnderTest) -> None:
    """A suspect shows when it was due: it is in no lane, but it waits too."""

    async def steps() -> None:
        async with opened(store) as world:
            await world.enqueue()
            await world.redis.zrem(world.keys.lane("shop|normal|"), "m1")
            await world.redis.zadd(world.keys.suspects, {"m1": 1763719200000})

    asyncio.run(steps())
    assert command("show", "m1", "--json").objects[0]["due_at"] == "2025-11-21T10:00:00+00:00"


def test_a_message_that_is_due_says_where_to_see_what_blocks_it(
    command: CommandLine, store: StoreUnderTest
) -> None:
    """A pause of its sender is no reason of the message, so its own lines do not name it."""

    async def steps() -> None:
        async with opened(store) as world:
            await world.enqueue("due")
            await world.enqueue("later", not_before=FAR)

    asyncio.run(steps())
    assert "; `lanes` shows what blocks it\n" in command("show", "due").out
    assert "`lanes`" not in command("show", "later").out


def test_what_the_store_made_up_of_an_unreadable_job_is_not_told() -> None:
    """`show` prints null for fields that the store filled in itself when it could not read the job.

    Its expiry and its rule are not the producer's.
    """
    row = {
        "s": "dead",
        "r": "unreadable",
        "l": "||",
        "q": "1763719200000",
        "e": "1763719200000",
        "u": "hold",
        "n": "0",
    }
    told = as_object(Record("m1", row, ()))
    assert (told["expires_at"], told["on_unknown"], told["sender"]) == (None, None, None)
    assert told["enqueued_at"] == "2025-11-21T10:00:00+00:00"


def test_a_person_is_told_one_thing_a_line(command: CommandLine, store: StoreUnderTest) -> None:
    """Tables print the same names in words, without empty fields and fields that only scripts
    use.
    """
    play(store, dies=True)
    out = command("show", "m1").out
    facts = dict(re.findall(r"^  ([a-z ]+?)  +(\S.*)$", out, re.MULTILINE))
    said: dict[str, Any] = {
        "sender": "shop",
        "campaign": "spring",
        "attempts": "1",
        "form": "freeform",
    }
    assert facts.items() >= {**said, "on unknown": "never", "error code": "30500"}.items()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", facts["enqueued at"])
    assert not {"fence", "group", "crashes", "poison", "cancel asked"} & facts.keys()
    for word in ("fence", "rank", "digest", "revision", "None", "False"):
        assert word not in out
    assert max(map(len, out.splitlines())) <= 160


def test_the_page_names_what_programs_get() -> None:
    """The page lists every name in the JSON output, and no name that was removed."""
    (table,) = re.findall(
        r"^\| name \|.*?(?=^$)", COMMANDS_PAGE.read_text(), re.MULTILINE | re.DOTALL
    )
    names = [
        name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])
    ]
    assert sorted(names) == sorted(["message_id", *OBJECT, "timeline"])
