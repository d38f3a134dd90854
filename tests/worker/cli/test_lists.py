"""`dead` and `unknown`: the messages that wait for an operator."""

import asyncio
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sendwindow.contract import LIFETIME
from sendwindow.sync import Producer
from sendwindow.timestamps import from_ms
from sendwindow.vocabulary import Reason, Stage
from tests.conftest import StoreUnderTest
from tests.support.cast import MESSAGE_SID
from tests.support.cli_world import CommandLine
from tests.support.stores_world import DEAD, opened
from worker.cli.exit_codes import Exit
from worker.ports.settlements import SettleEnd
from worker.ports.unknowns import Resolution


def die(store: StoreUnderTest, **messages: str) -> None:
    """End messages as dead letters. The value names their campaign."""

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


def test_dead_letters_are_listed_with_reason_and_last_error(
    command: CommandLine, store: StoreUnderTest
) -> None:
    """The list shows why each message died, and reason, sender, campaign and time filter it."""
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
    """An unknown reason is refused as a filter: it would match nothing and look like nothing to
    do.
    """
    answer = command("dead", word, "--reason", "unreadible")
    assert (answer.code, answer.err) == (
        Exit.USAGE,
        "error: There is no such reason. docs/reasons.md lists them all.\n",
    )


def test_a_replayed_dead_letter_is_queued_again_under_its_id(
    command: CommandLine, store: StoreUnderTest
) -> None:
    """Replay keeps the id and decides again.

    A message that is not a dead letter any more is reported and makes the exit code 1.
    """
    die(store, one="")
    assert command("dead", "replay", "one").code == Exit.DONE
    assert stage(command, "one") == "queued"
    answer = command("dead", "replay", "nothing")
    assert answer.code == Exit.FAILED
    assert "nothing: is not known" in answer.out


@pytest.mark.parametrize("hours", ["0", "-1", "168.5", "nan", "inf", "1e9", "soon"])
def test_a_replayed_message_stays_sendable_for_a_while_within_reason(
    command: CommandLine, hours: str
) -> None:
    """`--hours` must be more than zero and at most the lifetime of a new message.

    With no time at all a replayed message would only expire.
    """
    answer = command("dead", "replay", "one", f"--hours={hours}")
    assert answer.code == Exit.USAGE
    assert "--hours" in answer.err


def test_a_replayed_message_lasts_as_long_as_its_purpose(
    command: CommandLine, store: StoreUnderTest, tmp_path: Path
) -> None:
    """A replayed message lives as long as its purpose allows, unless the operator passes `--hours`.

    A login code is useless a day later.
    """

    async def play() -> None:
        async with opened(store) as world:
            for purpose in LIFETIME:
                await world.settle(await world.post(purpose.value, purpose=purpose), DEAD)

    asyncio.run(play())
    path = tmp_path / "people.jsonl"
    assert command("dead", "replay", "--all", "--journal", str(path)).code == Exit.DONE
    ends = {line["id"]: line["expires"] for line in lines(path)}
    # Read the store's clock once for all of them.
    assert (
        len(
            {
                ends[purpose.value] - lasts // timedelta(milliseconds=1)
                for purpose, lasts in LIFETIME.items()
            }
        )
        == 1
    )
    for name, expires in ends.items():
        assert datetime.fromisoformat(
            command("show", name, "--json").objects[0]["expires_at"]
        ) == from_ms(expires)


@pytest.mark.parametrize("word", ["replay", "drop"])
@pytest.mark.parametrize("more", [("--all",), ("--reason", "poison"), ("--campaign", "spring")])
def test_ids_next_to_a_filter_are_refused(
    command: CommandLine, store: StoreUnderTest, word: str, more: tuple[str, ...]
) -> None:
    """Ids next to a filter are refused.

    The filter would be ignored, and a message that it leaves out would go.
    """
    die(store, one="")
    answer = command("dead", word, "one", *more)
    assert (answer.code, answer.out) == (Exit.USAGE, "")
    assert "are named by ids and by a filter" in answer.err
    assert stage(command, "one") == "dead"


def doubt(store: StoreUnderTest, *message_ids: str) -> None:
    """End messages as dead by the rule `never`, each with an unproven attempt."""

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
    """A message that may have been sent is replayed only with --even-if-sent.

    Without it, the message is refused with the remedy and gets no journal line.
    """
    doubt(store, "one")
    journal = tmp_path / "person.jsonl"
    answer = command("dead", "replay", "one", "--journal", str(journal))
    assert answer.code == Exit.FAILED
    assert "one: may have reached the person" in answer.out
    assert "--even-if-sent" in answer.out
    assert stage(command, "one") == "dead"
    assert lines(journal) == []
    assert (
        command("dead", "replay", "one", "--even-if-sent", "--journal", str(journal)).code
        == Exit.DONE
    )
    assert stage(command, "one") == "queued"
    assert [line["e"] for line in lines(journal)] == ["replayed"]


@pytest.mark.parametrize("chosen", [("--all",), ("--sender", "shop")], ids=["all", "filter"])
def test_what_perhaps_went_out_is_passed_over_and_counted(
    command: CommandLine, store: StoreUnderTest, chosen: tuple[str, ...]
) -> None:
    """A batch replay passes over messages that may have been sent, counts them, and succeeds.

    The operator did not name these messages, so leaving them is no error.
    """
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


def test_dropping_takes_the_filters_and_nothing_else(
    command: CommandLine, store: StoreUnderTest
) -> None:
    """Drop without ids needs a filter or --all, and drops only matching messages."""
    die(store, one="spring", two="autumn")
    assert command("dead", "drop").code == Exit.USAGE
    assert "1 dropped" in command("dead", "drop", "--campaign", "spring").out
    assert [line["message_id"] for line in command("dead", "list", "--json").objects] == ["two"]
    assert "1 dropped" in command("dead", "drop", "--all").out


def test_one_dead_letter_is_shown_with_its_timeline(
    command: CommandLine, store: StoreUnderTest
) -> None:
    """`dead show` shows only dead letters, and says so for any other message."""
    die(store, one="")
    assert "it failed too often" in command("dead", "show", "one").out
    command("dead", "replay", "one")
    assert command("dead", "show", "one").code == Exit.FAILED


def test_a_person_who_found_the_sid_ends_an_unknown_message(
    command: CommandLine, store: StoreUnderTest
) -> None:
    """With --sent, an unknown attempt is accepted under the SID that the operator found."""
    park(store, "one")
    assert "1 unknown, 0 of them wait for an operator" in command("unknown", "list").out
    assert command("unknown", "resolve", "one", "--sent", MESSAGE_SID).code == Exit.DONE
    shown = command("show", "one", "--json").objects[0]
    assert (shown["stage"], shown["reason"]) == ("accepted", "evidence_person")
    assert "0 unknown" in command("unknown", "list").out


def test_a_person_who_knows_it_was_not_sent_has_it_decided_afresh(
    command: CommandLine, store: StoreUnderTest
) -> None:
    """With --not-sent, the message goes back to its lane as a new attempt."""
    park(store, "one")
    assert command("unknown", "resolve", "one", "--not-sent").code == Exit.DONE
    shown = command("show", "one", "--json").objects[0]
    assert (shown["stage"], shown["reason"]) == ("retrying", "evidence_person")


def test_a_cancelled_message_ends_when_a_person_says_it_was_not_sent(
    command: CommandLine, store: StoreUnderTest, tmp_path: Path
) -> None:
    """A cancelled message ends when an operator says that it was not sent.

    Output and journal say so.
    """
    journal = tmp_path / "person.jsonl"
    park(store, "one")
    with Producer(store.url, store.partition) as producer:
        assert producer.cancel("one") == "too_late"
    answer = command("unknown", "resolve", "one", "--not-sent", "--journal", str(journal))
    assert answer.code == Exit.DONE
    assert "ends here, because its cancel was requested" in answer.out
    [line] = lines(journal)
    assert (line["stage"], line["reason"]) == ("cancelled", "cancelled")


def test_a_sid_of_another_message_resolves_nothing(
    command: CommandLine, store: StoreUnderTest
) -> None:
    """A SID of another attempt, an invalid SID and a message that is not unknown are refused."""

    async def play() -> None:
        async with opened(store) as world:
            await world.accept("other", sid=MESSAGE_SID)

    asyncio.run(play())
    park(store, "one")
    assert command("unknown", "resolve", "one", "--sent", MESSAGE_SID).code == Exit.FAILED
    assert stage(command, "one") == "unknown"
    assert command("unknown", "resolve", "one", "--sent", "SM1").code == Exit.USAGE
    assert command("unknown", "resolve", "other", "--not-sent").code == Exit.FAILED
    assert "This message is not known." in command("unknown", "resolve", "nosuch", "--not-sent").err


def lines(journal: Path) -> list[dict[str, Any]]:
    """Return the journal's lines without instants and writers, which must be there.

    The lines around an order are left out.
    """
    read = [json.loads(line) for line in journal.read_text().splitlines()]
    assert all(each["t"] and each["who"] for each in read)
    told = [each for each in read if each["e"] not in {"ordered", "order_done"}]
    return [{key: each[key] for key in each if key not in {"t", "who"}} for each in told]


def test_what_is_done_with_dead_letters_stands_in_the_journal(
    command: CommandLine, store: StoreUnderTest, tmp_path: Path
) -> None:
    """The journal gets one line for each message replayed (with its new expiry) or dropped.

    Other messages get no line.
    """
    die(store, one="", two="", three="")
    journal = tmp_path / "journals" / "person.jsonl"
    assert (
        command("dead", "replay", "one", "two", "nobody", "--journal", str(journal)).code
        == Exit.FAILED
    )
    command("dead", "drop", "one", "three", "--journal", str(journal))
    replayed, also, dropped = lines(journal)
    assert (replayed["e"], replayed["id"], also["id"]) == ("replayed", "one", "two")
    shown = command("show", "one", "--json").objects[0]["timeline"][-1]
    assert from_ms(replayed["expires"]) == datetime.fromisoformat(shown["expires"])
    assert dropped == {"e": "dropped", "id": "three"}


def test_what_a_person_says_of_an_unknown_attempt_stands_in_the_journal(
    command: CommandLine, store: StoreUnderTest, tmp_path: Path
) -> None:
    """The journal line of an operator's decision names attempt, evidence, stage and SID.

    The search for evidence writes the same line. A refusal writes none.
    """
    journal = tmp_path / "person.jsonl"
    for message_id in ("one", "two"):
        park(store, message_id)
    command("unknown", "resolve", "one", "--sent", MESSAGE_SID, "--journal", str(journal))
    command("unknown", "resolve", "two", "--not-sent", "--journal", str(journal))
    assert (
        command("unknown", "resolve", "two", "--not-sent", "--journal", str(journal)).code
        == Exit.FAILED
    )
    resolved = {"e": "resolved", "attempt": 1, "reason": "evidence_person"}
    assert lines(journal) == [
        resolved | {"id": "one", "sid": MESSAGE_SID, "stage": "accepted"},
        resolved | {"id": "two", "sid": None, "stage": "retrying"},
    ]


def test_nothing_is_done_when_the_journal_cannot_be_written(
    command: CommandLine, store: StoreUnderTest, tmp_path: Path
) -> None:
    """If the journal cannot be written, no decision is taken, and one sentence reports the usage
    error. The operator asked for a trace of it.
    """
    die(store, one="")
    answer = command("dead", "replay", "one", "--journal", str(tmp_path))
    assert answer.code == Exit.USAGE
    assert answer.err == "error: The journal cannot be written (Is a directory). Check its path.\n"
    assert stage(command, "one") == "dead"
