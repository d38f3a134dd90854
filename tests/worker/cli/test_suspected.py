"""`consent suspected`, and how loudly an undecided suspected stop is reported."""

import asyncio
import io
import json
from datetime import timedelta
from pathlib import Path

import pytest
import structlog

from tests.conftest import StoreUnderTest
from tests.support.cast import ANNA, BERT, MESSAGE_SID
from tests.support.cli_world import Answer, CommandLine
from tests.support.clocks import Clock
from tests.support.stores_world import opened
from worker.cli.exit_codes import Exit
from worker.pipeline.alerts import AGAIN_SECONDS, SuspectedStopAlert
from worker.ports.people import Inbound
from worker.runtime import clock
from worker.telemetry.metrics import Metrics
from worker.telemetry.stored_metrics import Snapshot, StoredMetrics


def writes(
    store: StoreUnderTest, address: str = ANNA, sid: str = MESSAGE_SID, **later: float
) -> None:
    """Record an inbound message that may mean stop, and let time pass."""

    async def write() -> None:
        async with opened(store) as world:
            await world.store.people.apply_inbound(
                [Inbound(sid, "shop", "main", address, "suspected")]
            )
            if later:
                await world.later(**later)

    asyncio.run(write())


def marketing_of(command: CommandLine, address: str = ANNA) -> str:
    known = command("contact", address, "--json").objects[0]
    return str(next(line for line in known["senders"] if line["sender"] == "shop")["marketing"])


def test_what_may_mean_stop_is_listed_without_its_text(
    command: CommandLine, store: StoreUnderTest
) -> None:
    """The list shows the person's digest, the sender, the time, and the MessageSid of Twilio's
    text.
    """
    assert command("consent", "suspected", "--json").objects == []
    writes(store, hours=3)
    answer = command("consent", "suspected", "--json")
    [line] = answer.objects
    assert (line["account"], line["sender"], line["hours"], line["message_sid"]) == (
        "main",
        "shop",
        3,
        MESSAGE_SID,
    )
    assert "1 suspected stop" in answer.err
    shown = command("consent", "suspected")
    assert line["person"] in shown.out
    assert ANNA not in shown.out


def named(command: CommandLine, by: str) -> str:
    digest = str(command("contact", ANNA, "--json").objects[0]["person"])
    return {"address": ANNA, "digest": digest, "sid": MESSAGE_SID}[by]


@pytest.mark.parametrize("by", ["address", "digest", "sid"])
def test_one_command_confirms_by_any_name(
    command: CommandLine, store: StoreUnderTest, by: str
) -> None:
    """Confirming withdraws marketing and nothing else, and leaves other persons' cases open."""
    for purpose in ("utility", "marketing"):
        command("consent", "grant", ANNA, "--purpose", purpose)
    writes(store)
    writes(store, BERT, "SM" + "8" * 32)
    answer = command("consent", "suspected", "--confirm", named(command, by), "--json")
    assert answer.code == Exit.DONE
    assert [(line["decision"], line["released"]) for line in answer.objects] == [("marketing", 0)]
    known = command("contact", ANNA, "--json").objects[0]["senders"][0]
    assert (known["utility"], known["marketing"], known["suspected_stop"]) == (
        "granted",
        "opted_out",
        None,
    )
    assert len(command("consent", "suspected", "--json").objects) == 1


def test_a_confirmed_stop_may_withdraw_everything(
    command: CommandLine, store: StoreUnderTest
) -> None:
    """With --all a confirmed stop withdraws everything."""
    command("consent", "grant", ANNA, "--purpose", "utility")
    writes(store)
    assert (
        "everything is withdrawn" in command("consent", "suspected", "--confirm", ANNA, "--all").out
    )
    assert command("contact", ANNA, "--json").objects[0]["senders"][0]["utility"] == "opted_out"


def test_what_was_no_stop_is_dismissed(command: CommandLine, store: StoreUnderTest) -> None:
    """A dismissed case withdraws nothing, and marketing goes on."""
    command("consent", "grant", ANNA, "--purpose", "marketing")
    writes(store)
    answer = command("consent", "suspected", "--dismiss", ANNA)
    assert answer.out == "dismissed: it was not a stop; 0 messages decided again\n"
    assert marketing_of(command) == "granted"
    assert command("consent", "suspected", "--json").objects == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--confirm", BERT), Exit.FAILED, "This person has no suspected stop."),
        (("--dismiss", "SM" + "9" * 32), Exit.FAILED, "This person has no suspected stop."),
        (("--confirm", "+1 415"), Exit.USAGE, "not an address"),
        (("--all",), Exit.USAGE, "Use it with --confirm."),
        (("--dismiss", ANNA, "--all"), Exit.USAGE, "Use it with --confirm."),
    ],
)
def test_what_cannot_be_decided_is_reported(
    command: CommandLine, store: StoreUnderTest, arguments: tuple[str, ...], code: Exit, words: str
) -> None:
    """A name that matches no suspected stop decides nothing, and no error repeats an address."""
    writes(store)
    answer = command("consent", "suspected", *arguments)
    assert answer.code == code
    assert words in answer.err
    assert len(command("consent", "suspected", "--json").objects) == 1


def test_a_decision_is_journalled(
    command: CommandLine, store: StoreUnderTest, tmp_path: Path
) -> None:
    """A decision is journaled, so that `verify` can compare later messages with the withdrawal."""
    journal = tmp_path / "people.jsonl"
    for word in ("--dismiss", "--confirm"):
        writes(store, sid="SM" + word[2] * 32)
        assert (
            command("consent", "suspected", word, ANNA, "--journal", str(journal)).code == Exit.DONE
        )
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    assert [(line["e"], line.get("decision"), line.get("purpose")) for line in lines] == [
        ("suspected", "dismiss", None),
        ("suspected", "marketing", None),
        ("consent", None, "marketing"),
    ]
    assert lines[-1]["granted"] is False


def doctor(command: CommandLine) -> tuple[int, dict[str, str]]:
    answer: Answer = command("doctor", "--json")
    return answer.code, {
        f"{line['mark']} {line['what']}": line["finding"] for line in answer.objects
    }


def test_doctor_warns_and_after_a_day_fails(command: CommandLine, store: StoreUnderTest) -> None:
    """`doctor` warns of an undecided suspected stop and fails once it is a day old."""
    assert not any("suspected" in what for what in doctor(command)[1])
    writes(store, hours=23)
    code, found = doctor(command)
    assert code == Exit.DONE
    assert "`consent suspected` lists them" in found["warning suspected stops"]
    writes(store, hours=25)
    code, found = doctor(command)
    assert code == Exit.FAILED
    assert "the oldest for 25 hours" in found["FAILED suspected stops"]


@pytest.mark.parametrize(
    ("came_by", "what", "right"),
    [
        ("status", "messages that persons wrote", "inbound"),
        ("inbound", "status callbacks", "status"),
    ],
)
def test_doctor_shows_for_a_week_that_a_url_is_wrong(
    command: CommandLine, store: StoreUnderTest, came_by: str, what: str, right: str
) -> None:
    """`doctor` names the URL to change, and stops warning a week after the last misdirected
    request.
    """
    assert f"warning {came_by} URL" not in doctor(command)[1]

    async def note(**later: float) -> None:
        async with opened(store) as world:
            await world.store.records.note_misdirected(came_by)
            await world.later(**later)

    asyncio.run(note(hours=3))
    found = doctor(command)[1][f"warning {came_by} URL"]
    assert found.startswith(f"{what} came to /twilio/{came_by}, the last one 3 hours ago")
    assert found.endswith(f"set their URL to /twilio/{right}")
    asyncio.run(note(days=8))
    assert f"warning {came_by} URL" not in doctor(command)[1]


@pytest.mark.asyncio
async def test_a_worker_says_aloud_what_has_waited_for_a_day(
    store: StoreUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An undecided suspected stop logs an error once an hour until an operator decides.

    It never ends by itself.
    """
    out = io.StringIO()
    log = structlog.wrap_logger(
        structlog.PrintLogger(out), processors=[structlog.processors.JSONRenderer()]
    )
    async with opened(store) as world:
        alarm = SuspectedStopAlert(world.store.records, log)
        assert await alarm.turn() == 0
        await world.store.people.apply_inbound(
            [Inbound(MESSAGE_SID, "shop", "main", ANNA, "suspected")]
        )
        await world.later(hours=23)
        await alarm.turn()
        assert out.getvalue() == ""
        await world.later(hours=49)
        own = Clock(monkeypatch, clock, now=10.0)
        for seconds in (10.0, 20.0, 10.0 + AGAIN_SECONDS):
            own.now = seconds
            await alarm.turn()
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [(line["event"], line["hours"]) for line in lines] == [("suspected_stop_waits", 72)] * 2


def test_metrics_show_how_many_wait_and_how_long() -> None:
    """The metrics are zero without a case, so that an alert can use them.

    A list of persons is not counted as a list of messages.
    """
    metrics = Metrics()
    stored = StoredMetrics(metrics.registry)
    stored.snapshot = Snapshot({}, {"suspected_stops": 0})
    assert b"sendwindow_suspected_stop_oldest_seconds 0.0" in metrics.render()
    stored.snapshot = Snapshot({"suspected": 3}, {"suspected_stops": 2}, timedelta(hours=25))
    shown = metrics.render()
    assert b"sendwindow_suspected_stops 2.0" in shown
    assert b"sendwindow_suspected_stop_oldest_seconds 90000.0" in shown
    assert b"sendwindow_store_suspected_total 3.0" in shown
    assert b'list="suspected_stops"' not in shown
