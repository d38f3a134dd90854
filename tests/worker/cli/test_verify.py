"""`send --journal` writes what `verify` reads, and `verify --store` asks the store for the rest."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis

from sendwindow.contract import SendMessage
from sendwindow.errors import IdConflict
from sendwindow.keys import Keys
from sendwindow.producer import Producer
from sendwindow.results import NotQueued, Receipt, SendSummary
from tests.conftest import StoreUnderTest
from tests.support.cast import ANNA
from tests.support.cli_world import GOOD, CommandLine
from tests.support.stores_world import opened
from worker.cli.exit_codes import Exit
from worker.cli.send import MessageLines


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journals" / "producer.jsonl"


def jsonl(path: Path, *lines: object) -> str:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_send_writes_what_the_queue_took(
    command: CommandLine, store: StoreUnderTest, tmp_path: Path, journal: Path
) -> None:
    """Each receipt is one line `accepted` with the person's digest.

    Bad lines have none, and no line holds an address.
    """

    async def digest() -> str:
        async with opened(store) as world:
            return world.store.people.digest(ANNA)

    far = GOOD | {"message_id": "far", "not_before": "2150-01-01T00:00:00Z"}
    name = jsonl(
        tmp_path / "m.jsonl",
        GOOD | {"message_id": "one"},
        far,
        {"to": 5},
        GOOD | {"message_id": "two"},
    )
    assert command("send", name, "--journal", str(journal)).code == Exit.FAILED
    assert command("send", name, "--journal", str(journal)).code == Exit.FAILED
    lines = read(journal)
    assert [(line["e"], line["id"], line["duplicate"]) for line in lines] == [
        ("accepted", "one", False),
        ("accepted", "two", False),
        ("accepted", "one", True),
        ("accepted", "two", True),
    ]
    assert {(line["purpose"], line["account"], line["sender"]) for line in lines} == {
        ("utility", "main", "shop")
    }
    assert {line["person"] for line in lines} == {asyncio.run(digest())}
    assert ANNA not in journal.read_text()


def test_each_receipt_is_written_next_to_its_own_message() -> None:
    """Each receipt is written with its own message.

    Rejected messages, and those that a full queue refused, have none.
    """
    messages = [
        SendMessage(**GOOD | {"message_id": name, "freeform": {"body": name + str(n)}})
        for n, name in enumerate("abacd")
    ]
    lines = MessageLines([message.model_dump_json().encode() for message in messages], keep=True)
    assert list(lines.messages()) == messages
    receipts = [Receipt(name, False, datetime(2026, 1, 1, tzinfo=UTC)) for name in "bad"]
    summary = SendSummary(receipts, [NotQueued(0, "a", IdConflict("a"))])
    assert list(lines.queued(summary)) == list(
        zip([messages[1], messages[2], messages[4]], receipts, strict=True)
    )


def test_a_journal_that_cannot_be_written_sends_nothing(
    command: CommandLine, tmp_path: Path
) -> None:
    """A journal that cannot be written is reported before anything is queued."""
    name = jsonl(tmp_path / "m.jsonl", GOOD | {"message_id": "one"})
    answer = command("send", name, "--journal", str(tmp_path))
    assert answer.code == Exit.USAGE
    assert "The journal cannot be written (Is a directory)" in answer.err
    assert command("show", "one").code == Exit.FAILED


def test_a_message_that_was_never_claimed_is_seen_as_lost(
    command: CommandLine, tmp_path: Path, journal: Path
) -> None:
    """A message that was never claimed is lost, thanks to its line `accepted`."""
    command(
        "send", jsonl(tmp_path / "m.jsonl", GOOD | {"message_id": "one"}), "--journal", str(journal)
    )
    answer = command("verify", "--journal", str(journal.parent), "--json")
    assert answer.code == Exit.FAILED
    assert answer.objects[0]["promises"]["P2"]["by_rule"] == {"lost": 1}
    assert "P2" not in answer.objects[0]["not_judged"]


def test_a_cancel_that_no_journal_tells_is_read_from_the_store(
    command: CommandLine, store: StoreUnderTest, tmp_path: Path, journal: Path
) -> None:
    """A cancel that is in no journal is read from the store; the store is not changed.

    By the journals alone the message is lost.
    """

    async def cancel() -> None:
        async with Producer(store.url, store.partition) as producer:
            await producer.cancel("one")

    async def contents() -> dict[bytes, bytes | None]:
        async with opened(store) as world:
            return await world.contents()

    command(
        "send", jsonl(tmp_path / "m.jsonl", GOOD | {"message_id": "one"}), "--journal", str(journal)
    )
    asyncio.run(cancel())
    assert command("verify", "--journal", str(journal)).code == Exit.FAILED
    before = asyncio.run(contents())
    answer = command("verify", "--journal", str(journal), "--store", "--json")
    assert (answer.code, answer.objects[0]["ok"]) == (Exit.DONE, True)
    assert answer.objects[0]["counts"]["ends"] == {"cancelled": 1}
    assert asyncio.run(contents()) == before
    other = jsonl(
        tmp_path / "other.jsonl", {"t": 1.0, "who": "p", "e": "accepted", "id": "of another store"}
    )
    answer = command("verify", "--journal", str(journal), "--journal", other, "--store", "--json")
    assert answer.objects[0]["promises"]["P2"]["ids"] == ["of another store"]


def test_a_message_that_the_store_holds_may_be_left_open(
    command: CommandLine, tmp_path: Path, journal: Path
) -> None:
    """A message still queued in the store fails `verify` unless open messages are allowed."""
    command(
        "send", jsonl(tmp_path / "m.jsonl", GOOD | {"message_id": "one"}), "--journal", str(journal)
    )
    words = ("verify", "--journal", str(journal), "--store")
    answer = command(*words, "--json")
    assert answer.code == Exit.FAILED
    assert answer.objects[0]["promises"]["P2"]["by_rule"] == {"open": 1}
    assert "--open queued" in answer.objects[0]["promises"]["P2"]["first"][0]["detail"]
    assert command(*words, "--open", "queued").code == Exit.DONE
    assert command(*words, "--running").code == Exit.DONE


def test_a_message_in_no_lane_is_lost(
    command: CommandLine, store: StoreUnderTest, tmp_path: Path, journal: Path
) -> None:
    """A row that says queued but stands in no lane is lost: no worker will ever claim it."""
    command(
        "send", jsonl(tmp_path / "m.jsonl", GOOD | {"message_id": "one"}), "--journal", str(journal)
    )
    with redis.Redis.from_url(store.url) as connection:
        connection.delete(Keys(store.partition).lane("shop|normal|"))
    answer = command("verify", "--journal", str(journal), "--store", "--json")
    assert answer.objects[0]["promises"]["P2"]["by_rule"] == {"lost": 1}


def test_what_is_no_open_stage_is_a_usage_error(command: CommandLine, tmp_path: Path) -> None:
    """A misspelt stage is a usage error that lists the stages, because it would allow nothing."""
    answer = command("verify", "--journal", jsonl(tmp_path / "empty.jsonl"), "--open", "nostage")
    assert answer.code == Exit.USAGE
    for stage in ("queued", "claimed", "posting", "waiting", "retrying", "unknown", "unresolved"):
        assert f"'{stage}'" in answer.err


def test_a_store_that_is_away_is_not_called_a_journal(
    command: CommandLine, tmp_path: Path, journal: Path
) -> None:
    """`verify --store` reports that the store is unreachable and does not blame the journal."""
    command(
        "send", jsonl(tmp_path / "m.jsonl", GOOD | {"message_id": "one"}), "--journal", str(journal)
    )
    text = command.config.read_text().splitlines()
    away = ['url = "redis://127.0.0.1:1/0"' if line.startswith("url") else line for line in text]
    command.config.write_text("\n".join(away))
    answer = command("verify", "--journal", str(journal), "--store")
    assert answer.code == Exit.STORE_UNREACHABLE
    assert "journal" not in answer.err


def test_an_empty_journal_is_no_success(command: CommandLine, tmp_path: Path) -> None:
    """An empty journal is a failure in text, JSON and exit code, because nothing was checked."""
    empty = jsonl(tmp_path / "empty.jsonl")
    answer = command("verify", "--journal", empty)
    assert (answer.code, "nothing broken" in answer.out) == (Exit.FAILED, False)
    answer = command("verify", "--journal", empty, "--json")
    assert (answer.code, answer.objects[0]["ok"]) == (Exit.FAILED, False)
