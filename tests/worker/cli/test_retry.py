"""`retry`: an operator sends refused, failed and expired messages again.

Without `--yes` nothing is written.
"""

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
from sendwindow.timestamps import to_ms
from sendwindow.vocabulary import Reason, Stage
from tests.conftest import StoreUnderTest
from tests.depth import examples
from tests.support.cli_world import CommandLine
from tests.support.stores_world import DEAD, REFUSED, UNKNOWN, accepted, opened
from tests.worker.stores.test_garbage_rows import GARBAGE, NUMBERS
from verify.judge import verify
from worker.cli.exit_codes import Exit
from worker.cli.life_orders import RETRY, prospects, send_again
from worker.ports.settlements import SettleEnd
from worker.telemetry.journal import Journal

FAILED = SettleEnd(Stage.FAILED, Reason.PROVIDER_REFUSED, code=63013)
EXPIRED = SettleEnd(Stage.EXPIRED, Reason.EXPIRED)
ENDS = {"refused": REFUSED, "failed": FAILED, "expired": EXPIRED, "dead": DEAD}


def end(store: StoreUnderTest, **messages: str) -> None:
    """End messages. The value names the end and, after a blank, the campaign."""

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
    """Return until when each message lives that a journal says lives again."""
    return {line["id"]: line["expires"] for line in journalled(path) if line["e"] == "retried"}


def test_a_dry_run_shows_what_would_go_and_writes_nothing(
    command: CommandLine, store: StoreUnderTest
) -> None:
    """A dry run shows the three ends that may go again, leaves out dead letters, and writes
    nothing.
    """
    end(store, one="refused", two="failed spring", three="expired", four="dead")
    answer = command("retry", "--all")
    assert answer.code == Exit.DONE
    assert "3 messages would be decided and sent again. Repeat with --yes to send." in answer.out
    assert [stage(command, name) for name in ("one", "two", "three")] == [
        "refused",
        "failed",
        "expired",
    ]


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
    """Messages that match the filters are queued again, and the others stay as they ended."""
    end(store, one="refused", two="failed spring", three="expired")
    assert command("retry", *filters, "--yes").code == Exit.DONE
    assert {name for name in ("one", "two", "three") if stage(command, name) == "queued"} == goes


def test_a_retry_is_another_life_that_is_decided_afresh(
    command: CommandLine, store: StoreUnderTest, tmp_path: Path
) -> None:
    """A retry keeps the id and starts a life with its own tries and expiry, and asking again
    changes nothing.

    `verify` knows of it.
    """
    end(store, one="failed")
    path = tmp_path / "people.jsonl"
    for hours, word in (("12", "retried"), ("6", "not_ended")):
        answer = command(
            "retry", "one", "--yes", "--hours", hours, "--json", "--journal", str(path)
        )
        assert answer.objects == [{"message_id": "one", "answer": word}]
    # The second order changed nothing, so `verify` knows of one life and its expiry.
    assert [line["e"] for line in journalled(path)] == [
        "ordered",
        "retried",
        "order_done",
        "ordered",
        "order_done",
    ]
    assert begun(path) == {
        "one": to_ms(
            datetime.fromisoformat(command("show", "one", "--json").objects[0]["expires_at"])
        )
    }
    told = command("show", "one", "--json").objects[0]
    assert (told["stage"], told["lives"], told["ended_at"], told["error_code"]) == (
        "queued",
        2,
        None,
        None,
    )

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
        breach.message_id
        for promise in report.promises
        for breach in promise.breaches
        if breach.rule == "two_ends"
    ]


def test_ends_of_two_lives_are_no_contradiction(tmp_path: Path) -> None:
    """A message that failed, was retried and was accepted has one end for each life."""
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
    """A cancelled message is never retried, whether it was cancelled before its end or after it."""
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


def test_what_went_out_or_may_have_is_not_retried(
    command: CommandLine, store: StoreUnderTest
) -> None:
    """A message that went out is not retried.

    If an attempt is only unproven, the operator may override that.
    """

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
    assert {one["message_id"]: one["answer"] for one in answer.objects} == {
        "sent": "sent",
        "perhaps": "perhaps_sent",
    }
    answer = command("retry", "--all", "--yes", "--even-if-sent", "--json")
    assert {one["message_id"]: one["answer"] for one in answer.objects} == {
        "sent": "sent",
        "perhaps": "retried",
    }


def test_only_what_ended_like_this_is_retried(command: CommandLine, store: StoreUnderTest) -> None:
    """Dead letters, waiting messages and unknown ids are reported as such and not retried."""
    end(store, letter="dead")

    async def play() -> None:
        async with opened(store) as world:
            await world.enqueue("queued")

    asyncio.run(play())
    answer = command("retry", "letter", "queued", "nothing", "--yes", "--json")
    assert [one["answer"] for one in answer.objects] == ["not_ended", "not_ended", "unknown_id"]
    assert answer.code == Exit.FAILED


@pytest.mark.parametrize(
    "words", [(), ("--reason", "nonsense"), ("--all", "--hours", "0"), ("one", "--all")]
)
def test_a_retry_of_nothing_in_particular_is_refused(
    command: CommandLine, words: tuple[str, ...]
) -> None:
    """A retry without ids, filter or --all is refused, and so is an unknown reason.

    The first would mean everything, the second nothing.
    """
    assert command("retry", *words, "--yes").code == Exit.USAGE


def test_a_dry_run_counts_by_end_and_says_what_would_be_decided_now(
    command: CommandLine, store: StoreUnderTest
) -> None:
    """A dry run counts messages by stage, reason and decision, and lists the first ids.

    No consent was granted here, so a worker would refuse them now.
    """
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
    """Return what the partition holds."""

    async def read() -> dict[bytes, bytes | None]:
        async with opened(store) as world:
            return await world.contents()

    return asyncio.run(read())


def test_a_retried_message_lasts_as_long_as_its_purpose(
    command: CommandLine, store: StoreUnderTest, tmp_path: Path
) -> None:
    """A retried message lives as long as its purpose allows, unless the operator passes `--hours`.

    A login code is useless a day later; an offer is not.
    """

    async def play() -> None:
        async with opened(store) as world:
            for purpose in LIFETIME:
                await world.settle(await world.post(purpose.value, purpose=purpose), REFUSED)

    asyncio.run(play())
    path = tmp_path / "people.jsonl"
    assert command("retry", "--all", "--yes", "--journal", str(path)).code == Exit.DONE
    lines = begun(path)
    assert set(lines) == {purpose.value for purpose in LIFETIME}
    # Read the store's clock once for all of them.
    ends = {
        lines[purpose.value] - lasts // timedelta(milliseconds=1)
        for purpose, lasts in LIFETIME.items()
    }
    assert len(ends) == 1


def test_a_job_that_cannot_be_read_is_not_sent_again(
    command: CommandLine, store: StoreUnderTest
) -> None:
    """A job that cannot be read is reported and not retried, and the others go.

    A worker would make it a dead letter.
    """
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
    """A retried message keeps its own expiry while that lies ahead.

    Once it is over, or with `--hours`, the message lives from now.
    """

    async def play() -> dict[str, datetime]:
        async with opened(store) as world:
            now = await world.store.now()
            own = {name: now + timedelta(days=5) for name in ("late", "hours")} | {
                "soon": now + timedelta(hours=1)
            }
            for name, expires_at in own.items():
                await world.settle(await world.post(name, expires_at=expires_at), REFUSED)
            await world.settle(
                await world.post("over", expires_at=now + timedelta(milliseconds=1)), EXPIRED
            )
            return own

    own = asyncio.run(play())
    path = tmp_path / "people.jsonl"
    for more in (("hours", "--hours", "2"), ("--all",)):
        assert command("retry", *more, "--yes", "--journal", str(path)).code == Exit.DONE
    ends = begun(path)
    assert {name: ends[name] for name in ("soon", "late")} == {
        name: to_ms(own[name]) for name in ("soon", "late")
    }
    assert to_ms(own["soon"]) < ends["hours"] < ends["over"] < to_ms(own["late"])


def test_what_a_newer_version_left_is_not_touched(
    command: CommandLine, store: StoreUnderTest
) -> None:
    """A message in an unknown stage is neither retried nor loses its job: it may be on its way."""
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


def test_a_sender_that_is_not_configured_is_no_fault_of_a_dry_run(
    command: CommandLine, store: StoreUnderTest
) -> None:
    """A dry run says that a message of a removed sender would be refused again."""

    async def play() -> None:
        async with opened(store) as world:
            await world.settle(await world.post("one", sender="gone"), REFUSED)

    asyncio.run(play())
    told = command("retry", "one", "--json").objects[0]
    assert (told["answer"], told["decision"], told["decision_reason"]) == (
        "may_go",
        "refuse",
        "unknown_sender",
    )


class Killed(BaseException):
    """An error that no handler catches, because a killed process runs no handler."""


@pytest.mark.parametrize("is_applied", [False, True])
def test_a_command_that_is_killed_in_the_middle_begins_no_life_twice(
    command: CommandLine, store: StoreUnderTest, tmp_path: Path, is_applied: bool
) -> None:
    """A retry that was killed and is given again begins one more life for each message.

    This holds whether it was killed before or after the store heard of it. `verify` counts the life
    from the line that the command wrote before it asked.
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
                    journal.write(
                        "settled", id=one, stage="failed", reason="provider_refused", attempt=1
                    )
                with pytest.raises(Killed):
                    await send_again(found, RETRY, order, journal)

    asyncio.run(die())
    answers = command("retry", *names, "--yes", "--json", "--journal", str(path)).objects
    assert [one["answer"] for one in answers] == (
        ["not_ended"] * 32 if is_applied else ["retried"] * 32
    ) + ["retried"] * 8
    ids = asyncio.run(claimed_once(store, path))
    assert sorted(ids) == sorted(names)
    report = verify([path])
    assert report.ok, report
    assert report.counts.ends == {"accepted": len(names)}


async def claimed_once(store: StoreUnderTest, path: Path) -> list[str]:
    """Claim what is due, have it accepted, and journal that. Returns the ids."""
    async with opened(store) as world:
        with closing(Journal(path, "worker-1")) as journal:
            taken = await world.claim(100)
            for one in taken:
                assert (await world.row(one.message_id))["lf"] == "2"
                journal.write("claimed", id=one.message_id, fence=2)
                await world.admit(one)
                await world.settle(one, accepted(f"SM{one.message_id}"))
                journal.write(
                    "settled", id=one.message_id, stage="accepted", reason="accepted", attempt=2
                )
            assert await world.claim(100) == ()
            return [one.message_id for one in taken]


@settings(
    max_examples=examples(40),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.dictionaries(st.sampled_from(NUMBERS), GARBAGE, min_size=1, max_size=4))
@example({"z": "garbage"})
@example({"q": "garbage"})
@example({"c": "9" * 400})
def test_garbage_in_a_row_holds_up_no_other_message(
    command: CommandLine, store: StoreUnderTest, fields: dict[str, str]
) -> None:
    """An unreadable row holds up no other message."""

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
