"""`dead` and `unknown`: what waits for a person."""

import asyncio
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sendwindow.contract import LIFETIME
from sendwindow.instants import from_ms
from sendwindow.sync import Producer
from sendwindow.vocabulary import Reason, Stage
from tests.conftest import StoreUnderTest
from tests.worker.commands_world import CommandLine, command_line
from tests.worker.stores_world import DEAD, opened
from worker.commands.exits import Exit
from worker.values.settlements import SettleEnd
from worker.values.unknowns import Resolution

SID = "SM" + "a" * 32


@pytest.fixture
def command(
    store: StoreUnderTest, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> CommandLine:
    return command_line(store, tmp_path, capsys, monkeypatch)


def die(store: StoreUnderTest, **messages: str) -> None:
    """Let messages die; the value names their campaign."""

    async def play() -> None:
        async with opened(store) as world:
            for message_id, campaign in messages.items():
                claimed = await world.post(message_id, campaign=campaign or None)
                await world.settle(claimed, DEAD)

    asyncio.run(play())


def park(store: StoreUnderTest, message_id: str) -> None:
    async def play() -> None:
        async with opened(store) as world:
            await world.park(message_id)

    asyncio.run(play())


def stage(command: CommandLine, message_id: str) -> object:
    return command("show", message_id, "--json").objects[0]["stage"]


def test_dead_letters_are_listed_with_reason_and_last_error(command: CommandLine, store: StoreUnderTest) -> None:
    """The list shows why each died; filters by reason, sender, campaign and time choose among them."""
    die(store, one="", two="spring")
    answer = command("dead", "list")
    assert "2 dead letters" in answer.out
    assert {"it", "failed", "too", "often"} <= set(answer.out.split())
    for chosen, count in (
        (("--campaign", "spring"), 1),
        (("--reason", "retries_exhausted"), 2),
        (("--reason", "poison"), 0),
        (("--sender", "other"), 0),
        (("--since", "2099-01-01T00:00:00+00:00"), 0),
        (("--until", "2099-01-01T00:00:00+00:00"), 2),
    ):
        assert len(command("dead", "list", "--json", *chosen).objects) == count, chosen
    assert command("dead", "list", "--since", "yesterday").code == Exit.USAGE
    command("dead", "drop", "one")
    assert "1 dead letter\n" in command("dead", "list").out


@pytest.mark.parametrize("word", ["list", "replay", "drop"])
def test_a_reason_that_does_not_exist_is_no_filter(command: CommandLine, word: str) -> None:
    """Mistyped it would match nothing, and look like nothing to do."""
    answer = command("dead", word, "--reason", "unreadible")
    assert (answer.code, answer.err) == (
        Exit.USAGE,
        "error: There is no such reason. docs/reasons.md lists them all.\n",
    )


def test_a_replayed_dead_letter_is_queued_again_under_its_id(command: CommandLine, store: StoreUnderTest) -> None:
    """Replay keeps the id and decides afresh; what is no dead letter any more is told and makes the exit code 1."""
    die(store, one="")
    assert command("dead", "replay", "one").code == Exit.DONE
    assert stage(command, "one") == "queued"
    answer = command("dead", "replay", "nothing")
    assert answer.code == Exit.FAILED
    assert "nothing: is not known" in answer.out


@pytest.mark.parametrize("hours", ["0", "-1", "168.5", "nan", "inf", "1e9", "soon"])
def test_a_replayed_message_stays_sendable_for_a_while_within_reason(command: CommandLine, hours: str) -> None:
    """As long as a new one at most, and not no time at all: it would only expire."""
    answer = command("dead", "replay", "one", f"--hours={hours}")
    assert answer.code == Exit.USAGE
    assert "--hours" in answer.err


def test_a_replayed_message_lasts_as_long_as_its_purpose(
    command: CommandLine, store: StoreUnderTest, tmp_path: Path
) -> None:
    """A login code is no use a day later; a person may say otherwise with `--hours`."""

    async def play() -> None:
        async with opened(store) as world:
            for purpose in LIFETIME:
                await world.settle(await world.post(purpose.value, purpose=purpose), DEAD)

    asyncio.run(play())
    path = tmp_path / "people.jsonl"
    assert command("dead", "replay", "--all", "--journal", str(path)).code == Exit.DONE
    ends = {line["id"]: line["expires"] for line in lines(path)}
    # One look at the store's clock for all of them.
    assert len({ends[purpose.value] - lasts // timedelta(milliseconds=1) for purpose, lasts in LIFETIME.items()}) == 1
    for name, expires in ends.items():
        assert datetime.fromisoformat(command("show", name, "--json").objects[0]["expires_at"]) == from_ms(expires)


@pytest.mark.parametrize("word", ["replay", "drop"])
@pytest.mark.parametrize("more", [("--all",), ("--reason", "poison"), ("--campaign", "spring")])
def test_ids_next_to_a_filter_are_refused(
    command: CommandLine, store: StoreUnderTest, word: str, more: tuple[str, ...]
) -> None:
    """The filter would be passed over in silence, and a message that it leaves out would go."""
    die(store, one="")
    answer = command("dead", word, "one", *more)
    assert (answer.code, answer.out) == (Exit.USAGE, "")
    assert "Both ids and a filter" in answer.err
    assert stage(command, "one") == "dead"


def doubt(store: StoreUnderTest, *message_ids: str) -> None:
    """Let messages die by the rule `never`, with an attempt that nobody can prove."""

    async def play() -> None:
        async with opened(store) as world:
            for message_id in message_ids:
                await world.park(message_id)
                end = SettleEnd(Stage.DEAD, Reason.NEVER_BY_RULE)
                await world.store.unknowns.resolve([Resolution(message_id, 1, end)])

    asyncio.run(play())


def test_what_perhaps_went_out_is_replayed_only_when_told_so(
    command: CommandLine, store: StoreUnderTest, tmp_path: Path
) -> None:
    """Named, it is refused with the remedy and leaves no line in the journal; --even-if-sent replays it."""
    doubt(store, "one")
    journal = tmp_path / "person.jsonl"
    answer = command("dead", "replay", "one", "--journal", str(journal))
    assert answer.code == Exit.FAILED
    assert "one: may have reached the person" in answer.out
    assert "--even-if-sent" in answer.out
    assert stage(command, "one") == "dead"
    assert lines(journal) == []
    assert command("dead", "replay", "one", "--even-if-sent", "--journal", str(journal)).code == Exit.DONE
    assert stage(command, "one") == "queued"
    assert [line["e"] for line in lines(journal)] == ["replayed"]


@pytest.mark.parametrize("chosen", [("--all",), ("--sender", "shop")], ids=["all", "filter"])
def test_what_perhaps_went_out_is_passed_over_and_counted(
    command: CommandLine, store: StoreUnderTest, chosen: tuple[str, ...]
) -> None:
    """Nobody named it, so nothing went wrong: the others are replayed, the end says how many were left."""
    die(store, one="")
    doubt(store, "two", "three")
    answer = command("dead", "replay", *chosen)
    assert answer.code == Exit.DONE
    assert "2 perhaps_sent, 1 replayed" in answer.out
    assert "--even-if-sent" in answer.out
    assert [stage(command, name) for name in ("one", "two", "three")] == ["queued", "dead", "dead"]
    answer = command("dead", "replay", *chosen, "--json")
    assert {line["answer"] for line in answer.objects} == {"perhaps_sent"}
    assert command("dead", "replay", *chosen, "--even-if-sent").code == Exit.DONE
    assert stage(command, "two") == "queued"


def test_dropping_takes_the_filters_and_nothing_else(command: CommandLine, store: StoreUnderTest) -> None:
    """Drop without ids needs a filter or --all; only what matches goes."""
    die(store, one="spring", two="autumn")
    assert command("dead", "drop").code == Exit.USAGE
    assert "1 dropped" in command("dead", "drop", "--campaign", "spring").out
    assert [line["message_id"] for line in command("dead", "list", "--json").objects] == ["two"]
    assert "1 dropped" in command("dead", "drop", "--all").out


def test_one_dead_letter_is_shown_with_its_timeline(command: CommandLine, store: StoreUnderTest) -> None:
    """`dead show` shows a dead letter only; of any other message it says so."""
    die(store, one="")
    assert "it failed too often" in command("dead", "show", "one").out
    command("dead", "replay", "one")
    assert command("dead", "show", "one").code == Exit.FAILED


def test_a_person_who_found_the_sid_ends_an_unknown_message(command: CommandLine, store: StoreUnderTest) -> None:
    """With --sent the attempt is accepted under that SID, by a person's word."""
    park(store, "one")
    assert "1 unknown, 0 of them wait for a person" in command("unknown", "list").out
    assert command("unknown", "resolve", "one", "--sent", SID).code == Exit.DONE
    shown = command("show", "one", "--json").objects[0]
    assert (shown["stage"], shown["reason"]) == ("accepted", "evidence_person")
    assert "0 unknown" in command("unknown", "list").out


def test_a_person_who_knows_it_was_not_sent_has_it_decided_afresh(command: CommandLine, store: StoreUnderTest) -> None:
    """With --not-sent the message goes back to its lane as a new attempt."""
    park(store, "one")
    assert command("unknown", "resolve", "one", "--not-sent").code == Exit.DONE
    shown = command("show", "one", "--json").objects[0]
    assert (shown["stage"], shown["reason"]) == ("retrying", "evidence_person")


def test_a_cancelled_message_ends_when_a_person_says_it_was_not_sent(
    command: CommandLine, store: StoreUnderTest, tmp_path: Path
) -> None:
    """It is not decided afresh: output and journal say that it ended."""
    journal = tmp_path / "person.jsonl"
    park(store, "one")
    with Producer(store.url, store.partition) as producer:
        assert producer.cancel("one") == "too_late"
    answer = command("unknown", "resolve", "one", "--not-sent", "--journal", str(journal))
    assert answer.code == Exit.DONE
    assert "ends here, as somebody asked to cancel it" in answer.out
    [line] = lines(journal)
    assert (line["stage"], line["reason"]) == ("cancelled", "cancelled")


def test_a_sid_of_another_message_resolves_nothing(command: CommandLine, store: StoreUnderTest) -> None:
    """A SID bound to another attempt is refused, and so is what is no SID or no unknown message."""

    async def play() -> None:
        async with opened(store) as world:
            await world.accept("other", sid=SID)

    asyncio.run(play())
    park(store, "one")
    assert command("unknown", "resolve", "one", "--sent", SID).code == Exit.FAILED
    assert stage(command, "one") == "unknown"
    assert command("unknown", "resolve", "one", "--sent", "SM1").code == Exit.USAGE
    assert command("unknown", "resolve", "other", "--not-sent").code == Exit.FAILED
    assert "This message is not known." in command("unknown", "resolve", "nosuch", "--not-sent").err


def lines(journal: Path) -> list[dict[str, Any]]:
    """A journal's lines but those that frame an order, without their instants and writers, which must be there."""
    read = [json.loads(line) for line in journal.read_text().splitlines()]
    assert all(each["t"] and each["who"] for each in read)
    told = [each for each in read if each["e"] not in {"ordered", "order_done"}]
    return [{key: each[key] for key in each if key not in {"t", "who"}} for each in told]


def test_what_is_done_with_dead_letters_stands_in_the_journal(
    command: CommandLine, store: StoreUnderTest, tmp_path: Path
) -> None:
    """One line for each that was replayed, with its new expiry, or dropped; none for what was not."""
    die(store, one="", two="", three="")
    journal = tmp_path / "journals" / "person.jsonl"
    assert command("dead", "replay", "one", "two", "nobody", "--journal", str(journal)).code == Exit.FAILED
    command("dead", "drop", "one", "three", "--journal", str(journal))
    replayed, also, dropped = lines(journal)
    assert (replayed["e"], replayed["id"], also["id"]) == ("replayed", "one", "two")
    shown = command("show", "one", "--json").objects[0]["timeline"][-1]
    assert from_ms(replayed["expires"]) == datetime.fromisoformat(shown["expires"])
    assert dropped == {"e": "dropped", "id": "three"}


def test_what_a_person_says_of_an_unknown_attempt_stands_in_the_journal(
    command: CommandLine, store: StoreUnderTest, tmp_path: Path
) -> None:
    """The line names attempt, evidence, stage and SID, as the search for evidence writes it; a refusal writes none."""
    journal = tmp_path / "person.jsonl"
    for message_id in ("one", "two"):
        park(store, message_id)
    command("unknown", "resolve", "one", "--sent", SID, "--journal", str(journal))
    command("unknown", "resolve", "two", "--not-sent", "--journal", str(journal))
    assert command("unknown", "resolve", "two", "--not-sent", "--journal", str(journal)).code == Exit.FAILED
    resolved = {"e": "resolved", "attempt": 1, "reason": "evidence_person"}
    assert lines(journal) == [
        resolved | {"id": "one", "sid": SID, "stage": "accepted"},
        resolved | {"id": "two", "sid": None, "stage": "retrying"},
    ]


def test_nothing_is_done_when_the_journal_cannot_be_written(
    command: CommandLine, store: StoreUnderTest, tmp_path: Path
) -> None:
    """A decision that leaves no trace where one was asked for is not taken: a usage error in one sentence."""
    die(store, one="")
    answer = command("dead", "replay", "one", "--journal", str(tmp_path))
    assert answer.code == Exit.USAGE
    assert answer.err == "error: The journal cannot be written (Is a directory). Check its path.\n"
    assert stage(command, "one") == "dead"
