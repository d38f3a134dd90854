"""`retry`: refused, failed and expired messages go again by a person's word, and nothing is written without `--yes`."""

import asyncio
import json
from collections.abc import Awaitable
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sendwindow.contract import LIFETIME
from sendwindow.instants import to_ms
from sendwindow.vocabulary import Reason, Stage
from tests.conftest import StoreUnderTest
from tests.depth import examples
from tests.worker.commands_world import CommandLine, command_line
from tests.worker.stores_world import DEAD, REFUSED, UNKNOWN, accepted, opened
from tests.worker.test_stores_garbage_rows import GARBAGE, NUMBERS
from worker.commands.afresh import RETRY, prospects, send_again
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


def journalled(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def begun(path: Path) -> dict[str, int]:
    """Until when each message lives that a journal says lives again."""
    return {line["id"]: line["expires"] for line in journalled(path) if line["e"] == "retried"}


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
    assert [line["e"] for line in journalled(path)] == ["ordered", "retried", "order_done", "ordered", "order_done"]
    assert begun(path) == {
        "one": to_ms(datetime.fromisoformat(command("show", "one", "--json").objects[0]["expires_at"]))
    }
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
    lines = begun(path)
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


def test_a_message_is_sent_no_later_than_its_producer_said_while_that_is_ahead(
    command: CommandLine, store: StoreUnderTest, tmp_path: Path
) -> None:
    """An offer that ends tonight ends tonight. Once its own end is over, or with `--hours`, it lives from now."""

    async def play() -> dict[str, datetime]:
        async with opened(store) as world:
            now = await world.store.now()
            own = {name: now + timedelta(days=5) for name in ("late", "hours")} | {"soon": now + timedelta(hours=1)}
            for name, expires_at in own.items():
                await world.settle(await world.post(name, expires_at=expires_at), REFUSED)
            await world.settle(await world.post("over", expires_at=now + timedelta(milliseconds=1)), EXPIRED)
            return own

    own = asyncio.run(play())
    path = tmp_path / "people.jsonl"
    for more in (("hours", "--hours", "2"), ("--all",)):
        assert command("retry", *more, "--yes", "--journal", str(path)).code == Exit.DONE
    ends = begun(path)
    assert {name: ends[name] for name in ("soon", "late")} == {name: to_ms(own[name]) for name in ("soon", "late")}
    assert to_ms(own["soon"]) < ends["hours"] < ends["over"] < to_ms(own["late"])


def test_what_a_newer_version_left_is_not_touched(command: CommandLine, store: StoreUnderTest) -> None:
    """In a stage that is unknown here a message may be on its way: it is neither sent again nor does its job go."""
    end(store, one="refused")

    async def move() -> None:
        async with opened(store) as world:
            await cast("Awaitable[int]", world.redis.hset(world.keys.row("one"), "s", "resting"))

    asyncio.run(move())
    before = contents(store)
    for more in ((), ("--yes",)):
        answer = command("retry", "one", *more, "--json")
        assert (answer.code, answer.objects[0]["answer"]) == (Exit.FAILED, "not_ended")
        assert command("retry", "--all", *more, "--json").objects == []
    assert contents(store) == before


def test_a_sender_that_is_not_configured_is_no_fault_of_a_dry_run(command: CommandLine, store: StoreUnderTest) -> None:
    """What was refused for it would be refused again, and the dry run says so."""

    async def play() -> None:
        async with opened(store) as world:
            await world.settle(await world.post("one", sender="gone"), REFUSED)

    asyncio.run(play())
    told = command("retry", "one", "--json").objects[0]
    assert (told["answer"], told["decision"], told["decision_reason"]) == ("may_go", "refuse", "unknown_sender")


class Killed(BaseException):
    """What no handler catches, as a process that is killed runs none."""


@pytest.mark.parametrize("is_applied", [False, True])
def test_a_command_that_is_killed_in_the_middle_begins_no_life_twice(
    command: CommandLine, store: StoreUnderTest, tmp_path: Path, is_applied: bool
) -> None:
    """Killed before or after the store heard of the order: given again, each message lives once more.

    `verify` takes what the dead command began for begun, by the line it wrote before it asked.
    """
    names = [f"m{number}" for number in range(40)]
    end(store, **dict.fromkeys(names, "failed"))
    path = tmp_path / "people.jsonl"

    async def die() -> None:
        async with opened(store) as world:
            found = await prospects(world.store, names[:32], timedelta(hours=3))

            async def order(ids: list[str], expiries: list[datetime]) -> list[str]:
                if is_applied:
                    await world.store.records.retry(ids, expiries)
                raise Killed

            with closing(Journal(path, "command-1")) as journal:
                for one in names:
                    journal.write("accepted", id=one, duplicate=False, expires=1)
                    journal.write("claimed", id=one, fence=1)
                    journal.write("settled", id=one, stage="failed", reason="provider_refused", attempt=1)
                with pytest.raises(Killed):
                    await send_again(found, RETRY, order, journal)

    asyncio.run(die())
    answers = command("retry", *names, "--yes", "--json", "--journal", str(path)).objects
    assert [one["answer"] for one in answers] == (["not_ended"] * 32 if is_applied else ["retried"] * 32) + [
        "retried"
    ] * 8
    ids = asyncio.run(claimed_once(store, path))
    assert sorted(ids) == sorted(names)
    report = verify([path])
    assert report.ok, report
    assert report.counts.ends == {"accepted": len(names)}


async def claimed_once(store: StoreUnderTest, path: Path) -> list[str]:
    """Let a worker take what is due and have it accepted, and write so; answers which."""
    async with opened(store) as world:
        with closing(Journal(path, "worker-1")) as journal:
            taken = await world.claim(100)
            for one in taken:
                assert (await world.row(one.message_id))["lf"] == "2"
                journal.write("claimed", id=one.message_id, fence=2)
                await world.admit(one)
                await world.settle(one, accepted(f"SM{one.message_id}"))
                journal.write("settled", id=one.message_id, stage="accepted", reason="accepted", attempt=2)
            assert await world.claim(100) == ()
            return [one.message_id for one in taken]


@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(NUMBERS), GARBAGE, min_size=1, max_size=4))
@example({"z": "garbage"})
@example({"q": "garbage"})
@example({"c": "9" * 400})
def test_garbage_in_a_row_holds_up_no_other_message(
    command: CommandLine, store: StoreUnderTest, fields: dict[str, str]
) -> None:
    """What can be read goes, whatever the row next to it holds."""

    async def spoil() -> None:
        async with opened(store) as world:
            await world.redis.flushdb()
        async with opened(store) as world:
            for name in ("bad", "good"):
                await world.settle(await world.post(name), REFUSED)
            await cast("Awaitable[int]", world.redis.hset(world.keys.row("bad"), mapping=fields))

    asyncio.run(spoil())
    for more, word in (((), "may_go"), (("--yes",), "retried")):
        answer = command("retry", "--all", *more, "--json")
        assert answer.code == Exit.DONE
        assert {one["message_id"]: one["answer"] for one in answer.objects}["good"] == word
