"""Decisions of an operator by commands, while the service runs, as `verify` sees them."""

import asyncio
from datetime import timedelta
from pathlib import Path

from sendwindow.contract import Freeform, SendMessage
from sendwindow.sync import Producer
from sendwindow.vocabulary import OnUnknown, Purpose, Stage
from tests.support import warm_start
from tests.support.cast import EMMA
from tests.support.house import House, house
from tests.support.waiting import until_now
from verify.judge import verify
from verify.report import Report
from worker.cli.exit_codes import Exit
from worker.stores.store import Store

FAULTS = (
    {"action": "unavailable", "match": {"id": "replayed"}, "times": 1},
    {"action": "unavailable", "match": {"id": "not-sent"}, "times": 1},
    # Only the recipient learns that this one went out.
    {"action": "accept_reset", "match": {"id": "taken"}, "times": 1},
    {"action": "callback_lost", "match": {"id": "taken"}},
    {"action": "list_lag", "match": {"id": "taken"}, "delay_ms": 10**9},
)


def queue(made: House, message_id: str, on_unknown: OnUnknown) -> None:
    with Producer(made.url) as producer:
        producer.send(
            SendMessage(
                to=EMMA,
                sender="shop",
                purpose=Purpose.REPLY,
                freeform=Freeform(body=f"An answer: {message_id}"),
                message_id=message_id,
                on_unknown=on_unknown,
            )
        )


def reaches(made: House, message_id: str, stage: Stage) -> None:
    """Wait until a message is in a stage."""
    with Producer(made.url) as producer:

        def look() -> bool:
            seen = producer.status(message_id)
            return seen is not None and seen.stage is stage

        until_now(look, f"{message_id} to be {stage}\n{made.logs()}")


def move_clocks(made: House, by: timedelta) -> None:
    """Move the clocks past the time after which the message's rule settles an unproven attempt."""

    async def move() -> None:
        store = await Store.connect(
            made.url,
            person_key=made.environ["KEY"].encode(),
            worker_id="test",
            lease=timedelta(seconds=7),
            profile="sandbox",
        )
        await store.set_offset(by)
        await store.close()

    asyncio.run(move())
    made.control("clock", {"offset_ms": by // timedelta(milliseconds=1)})


def person(made: House, *words: str) -> None:
    """Decide something on the command line, with a journal."""
    journal = str(made.journals / "person.jsonl")
    answer = warm_start.run(
        "worker", [*words, "--journal", journal], cwd=made.folder, environ=made.environ
    )
    assert answer.returncode == Exit.DONE, answer.stdout + answer.stderr


def broken(report: Report) -> set[str]:
    return {breach.rule for promise in report.promises for breach in promise.breaches}


def test_verify_follows_what_a_person_decides(tmp_path: Path) -> None:
    """A replay, `--not-sent` and `--sent` of a running service break nothing and send nothing
    twice.

    Without the operator's journal the same run is red: an end was undone, and one end stands in no
    other journal.
    """
    with house(tmp_path) as made:
        made.start_all()
        made.say("Hello")
        made.control("faults", {"rules": FAULTS})
        queue(made, "replayed", OnUnknown.NEVER)
        queue(made, "not-sent", OnUnknown.HOLD)
        queue(made, "taken", OnUnknown.HOLD)
        for message_id in ("replayed", "not-sent", "taken"):
            reaches(made, message_id, Stage.UNKNOWN)
        [row] = made.control("messages?id=taken")["messages"]
        person(made, "unknown", "resolve", "taken", "--sent", row["sid"])
        move_clocks(made, timedelta(minutes=11))
        reaches(made, "replayed", Stage.DEAD)
        reaches(made, "not-sent", Stage.UNRESOLVED)
        person(made, "dead", "replay", "replayed", "--even-if-sent")
        person(made, "unknown", "resolve", "not-sent", "--not-sent")
        for message_id in ("replayed", "not-sent"):
            assert made.ends(message_id, status="read").stage is Stage.ACCEPTED
        assert made.ends("taken").reason == "evidence_person"
        until_now(lambda: made.control("stats")["callbacks_pending"] == 0, "callbacks")
        assert [process.stop() for process in made.processes] == [Exit.DONE] * 3
        journals = sorted(made.journals.glob("*.jsonl"))
        report = verify(journals)
        assert report.ok, report
        assert (report.counts.ends, report.counts.duplicates) == ({"accepted": 3}, 0)
        assert report.counts.resolved["evidence_person"] == 2
        assert broken(verify([path for path in journals if path.name != "person.jsonl"])) == {
            "two_ends",
            "lost",
        }


def test_what_was_refused_for_want_of_consent_goes_once_after_a_retry(tmp_path: Path) -> None:
    """A refused message goes once after consent and a retry by reason; a second retry adds no POST.

    A cancelled message adds none either.
    """
    with house(tmp_path) as made:
        made.start_all()
        made.say("Hello")
        for message_id in ("refused", "cancelled"):
            with Producer(made.url) as producer:
                producer.send(
                    SendMessage(
                        to=EMMA,
                        sender="shop",
                        purpose=Purpose.UTILITY,
                        freeform=Freeform(body=f"Your order: {message_id}"),
                        message_id=message_id,
                    )
                )
            assert made.ends(message_id).reason == "no_consent"
        with Producer(made.url) as producer:
            producer.cancel("cancelled")
        person(made, "consent", "grant", EMMA, "--account", "main", "--purpose", "utility")
        person(made, "retry", "--reason", "no_consent")
        assert made.ends("refused").stage is Stage.REFUSED
        person(made, "retry", "--reason", "no_consent", "--yes")
        assert made.ends("refused", status="read").stage is Stage.ACCEPTED
        person(made, "retry", "--all", "--yes")
        assert made.ends("cancelled").stage is Stage.REFUSED
        until_now(lambda: made.control("stats")["callbacks_pending"] == 0, "callbacks")
        assert [row["id"] for row in made.control("messages")["messages"] if row["to"] == EMMA] == [
            "refused"
        ]
        assert [process.stop() for process in made.processes] == [Exit.DONE] * 3
        journals = sorted(made.journals.glob("*.jsonl"))
        report = verify(journals)
        assert report.ok, report
        assert report.counts.ends == {"accepted": 1, "refused": 1}
        assert "two_ends" in broken(
            verify([path for path in journals if path.name != "person.jsonl"])
        )
