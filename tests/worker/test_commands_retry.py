"""`retry`: refused, failed and expired messages go again by a person's word, and nothing is written without `--yes`."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import pytest

from sendwindow.contract import LIFETIME
from sendwindow.vocabulary import Reason, Stage
from tests.conftest import StoreUnderTest
from tests.worker.commands_world import CommandLine, command_line
from tests.worker.stores_world import DEAD, REFUSED, UNKNOWN, accepted, opened
from worker.commands.exits import Exit
from worker.journal import Journal
from worker.values.settlements import SettleEnd
from worker.verify.verify import verify

FAILED = SettleEnd(Stage.FAILED, Reason.PROVIDER_REFUSED, code=63013)
EXPIRED = SettleEnd(Stage.EXPIRED, Reason.EXPIRED)
ENDS = {"refused": REFUSED, "failed": FAILED, "expired": EXPIRED, "dead": DEAD}


@pytest.fixture
def command(
    store: StoreUnderTest, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> CommandLine:
    return command_line(store, tmp_path, capsys, monkeypatch)


def end(store: StoreUnderTest, **messages: str) -> None:
    """Let messages end; the value names the end, and after a blank the campaign."""

    async def play() -> None:
        async with opened(store) as world:
            for name, wish in messages.items():
                word, _, campaign = wish.partition(" ")
                claimed = await world.post(name.replace("_", "-"), campaign=campaign or None)
                await world.settle(claimed, ENDS[word])

    asyncio.run(play())


def stage(command: CommandLine, message_id: str) -> object:
    return command("show", message_id, "--json").objects[0]["stage"]


def test_a_dry_run_shows_what_would_go_and_writes_nothing(command: CommandLine, store: StoreUnderTest) -> None:
    """Three ends that may go again, and a dead letter that is no affair of this command."""
    end(store, one="refused", two="failed spring", three="expired", four="dead")
    answer = command("retry", "--all")
    assert answer.code == Exit.DONE
    assert "3 messages would be decided afresh and sent again; --yes does it." in answer.out
    assert [stage(command, name) for name in ("one", "two", "three")] == ["refused", "failed", "expired"]


@pytest.mark.parametrize(
    "filters, goes",
    [
        (("--stage", "refused"), {"one"}),
        (("--reason", "provider_refused"), {"two"}),
        (("--code", "63013"), {"two"}),
        (("--code", "63013", "--stage", "refused"), set()),
        (("--campaign", "spring"), {"two"}),
        (("--sender", "shop"), {"one", "two", "three"}),
        (("--sender", "other"), set()),
        (("--since", "2001-01-01T00:00:00+00:00"), {"one", "two", "three"}),
        (("--until", "2001-01-01T00:00:00+00:00"), set()),
    ],
)
def test_filters_choose_what_goes(
    command: CommandLine, store: StoreUnderTest, filters: tuple[str, ...], goes: set[str]
) -> None:
    """What they let through is queued again, the rest stays as it ended."""
    end(store, one="refused", two="failed spring", three="expired")
    assert command("retry", *filters, "--yes").code == Exit.DONE
    assert {name for name in ("one", "two", "three") if stage(command, name) == "queued"} == goes


def test_a_retry_is_another_life_that_is_decided_afresh(
    command: CommandLine, store: StoreUnderTest, tmp_path: Path
) -> None:
    """Under its own id, with tries of its own and a new time; asked again, it changes nothing; `verify` knows of it."""
    end(store, one="failed")
    path = tmp_path / "people.jsonl"
    for hours, word in (("12", "retried"), ("6", "not_ended")):
        answer = command("retry", "one", "--yes", "--hours", hours, "--json", "--journal", str(path))
        assert answer.objects == [{"message_id": "one", "answer": word}]
    # The second order changed nothing, so `verify` hears of one life and of its expiry alone.
    assert [line["e"] for line in map(json.loads, path.read_text().splitlines())] == ["retried"]
    told = command("show", "one", "--json").objects[0]
    assert (told["stage"], told["lives"], told["ended_at"], told["error_code"]) == ("queued", 2, None, None)

    async def play() -> None:
        async with opened(store) as world:
            claimed = await world.claim_one()
            assert (claimed.attempts, claimed.tries) == (1, 0)
            await world.admit(claimed)
            await world.settle(claimed, accepted("SM2"), attempt=2)
            counts = await world.store.records.counts()
            assert sum(number for name, number in counts.items() if name.startswith("end:")) == 1

    asyncio.run(play())
    journal = Journal(path, "worker-1")
    for name in ("accepted", "failed"):
        journal.write("settled", id="other", attempt=1, stage=name, reason="x")
    report = verify([path])
    assert [
        breach.message_id for promise in report.promises for breach in promise.breaches if breach.rule == "two_ends"
    ]


def test_ends_of_two_lives_are_no_contradiction(tmp_path: Path) -> None:
    """It failed, a person had it sent again, and it was accepted: one end for each life."""
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, "worker-1")
    journal.write("claimed", id="one", fence=1)
    journal.write("settled", id="one", attempt=1, stage="failed", reason="provider_refused")
    journal.write("retried", id="one", expires=4070908800000)
    journal.write("claimed", id="one", fence=2)
    journal.write("settled", id="one", attempt=2, stage="accepted", reason="accepted")
    report = verify([path])
    assert not [breach for promise in report.promises for breach in promise.breaches]


def test_a_cancelled_message_is_never_retried(command: CommandLine, store: StoreUnderTest) -> None:
    """Cancelled before its end or after it: the producer's word outlasts a person's."""
    end(store, one="failed")

    async def play() -> None:
        async with opened(store) as world:
            assert await world.cancel("one") == "ended"
            await world.enqueue("two")
            await world.cancel("two")

    asyncio.run(play())
    answer = command("retry", "one", "two", "--yes", "--even-if-sent")
    assert answer.code == Exit.FAILED
    assert "one: its producer cancelled it" in answer.out
    assert (stage(command, "one"), stage(command, "two")) == ("failed", "cancelled")


def test_what_went_out_or_may_have_is_not_retried(command: CommandLine, store: StoreUnderTest) -> None:
    """A late report proved an attempt of the one; an attempt of the other is in doubt, which a person may override."""

    async def play() -> None:
        async with opened(store) as world:
            for name in ("sent", "perhaps"):
                await world.settle(await world.post(name), UNKNOWN)
                await world.send_again(message_id=name)
                claimed = await world.claim_one()
                await world.admit(claimed)
                await world.settle(claimed, FAILED)
            await world.callback("delivered", "SMlate", message_id="sent")

    asyncio.run(play())
    answer = command("retry", "--all", "--yes", "--json")
    assert {one["message_id"]: one["answer"] for one in answer.objects} == {"sent": "sent", "perhaps": "perhaps_sent"}
    answer = command("retry", "--all", "--yes", "--even-if-sent", "--json")
    assert {one["message_id"]: one["answer"] for one in answer.objects} == {"sent": "sent", "perhaps": "retried"}


def test_only_what_ended_like_this_is_retried(command: CommandLine, store: StoreUnderTest) -> None:
    """A dead letter, a message that waits and an id that nobody knows are told as such."""
    end(store, letter="dead")

    async def play() -> None:
        async with opened(store) as world:
            await world.enqueue("queued")

    asyncio.run(play())
    answer = command("retry", "letter", "queued", "nothing", "--yes", "--json")
    assert [one["answer"] for one in answer.objects] == ["not_ended", "not_ended", "unknown_id"]
    assert answer.code == Exit.FAILED


@pytest.mark.parametrize("words", [(), ("--reason", "nonsense"), ("--all", "--hours", "0"), ("one", "--all")])
def test_a_retry_of_nothing_in_particular_is_refused(command: CommandLine, words: tuple[str, ...]) -> None:
    """Without ids, filter or --all it would mean everything; a reason that does not exist would mean nothing."""
    assert command("retry", *words, "--yes").code == Exit.USAGE


def test_a_dry_run_counts_by_end_and_says_what_would_be_decided_now(
    command: CommandLine, store: StoreUnderTest
) -> None:
    """By stage, reason and decision, with the first ids; nobody has granted anything, so a worker would refuse now."""
    end(store, **{f"m{number:02}": "refused" for number in range(12)}, other="failed")
    before = contents(store)
    answer = command("retry", "--all")
    lines = [line.split() for line in answer.out.splitlines()]
    assert ["12", "refused", "opted_out", "refuse", "no_consent"] in lines
    assert ["1", "failed", "provider_refused", "refuse", "no_consent"] in lines
    assert "m00, m01, m02, m03, m04, m05, m06, m07, m08, m09 and 3 more" in answer.out
    told = command("retry", "other", "--json").objects
    assert told[0].pop("expires_at") is not None
    assert told == [
        {
            "message_id": "other",
            "answer": "may_go",
            "stage": "failed",
            "reason": "provider_refused",
            "error_code": 63013,
            "decision": "refuse",
            "decision_reason": "no_consent",
        }
    ]
    assert contents(store) == before


def contents(store: StoreUnderTest) -> dict[bytes, bytes | None]:
    """What the partition holds."""

    async def read() -> dict[bytes, bytes | None]:
        async with opened(store) as world:
            return await world.contents()

    return asyncio.run(read())


def test_a_retried_message_lasts_as_long_as_its_purpose(
    command: CommandLine, store: StoreUnderTest, tmp_path: Path
) -> None:
    """A login code is no use a day later, an offer is; a person may say otherwise with `--hours`."""

    async def play() -> None:
        async with opened(store) as world:
            for purpose in LIFETIME:
                await world.settle(await world.post(purpose.value, purpose=purpose), REFUSED)

    asyncio.run(play())
    path = tmp_path / "people.jsonl"
    assert command("retry", "--all", "--yes", "--journal", str(path)).code == Exit.DONE
    lines = {line["id"]: line["expires"] for line in map(json.loads, path.read_text().splitlines())}
    assert set(lines) == {purpose.value for purpose in LIFETIME}
    # One call of the store's clock for all of them.
    ends = {lines[purpose.value] - lasts // timedelta(milliseconds=1) for purpose, lasts in LIFETIME.items()}
    assert len(ends) == 1


def test_a_job_that_cannot_be_read_is_not_sent_again(command: CommandLine, store: StoreUnderTest) -> None:
    """A worker would make a dead letter of it; the person is told, and the others go."""
    end(store, one="refused", two="refused")

    async def spoil() -> None:
        async with opened(store) as world:
            await world.redis.set(world.keys.job("one"), b"{}", keepttl=True)

    asyncio.run(spoil())
    for more, goes in (((), "may_go"), (("--yes",), "retried")):
        answers = command("retry", "one", "two", *more, "--json").objects
        assert [one["answer"] for one in answers] == ["no_job", goes]
    assert (stage(command, "one"), stage(command, "two")) == ("refused", "queued")
