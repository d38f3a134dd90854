"""Persons whom an error shut out and who write again: by reply and by callback, in the whole
service.
"""

from pathlib import Path
from typing import Any

from sendwindow.contract import Freeform, SendMessage, Template
from sendwindow.sync import Producer
from sendwindow.vocabulary import Purpose, Stage
from tests.support.cast import EMMA
from tests.support.house import House, house
from tests.support.waiting import until_now
from verify.judge import verify
from worker.cli.exit_codes import Exit

USER_ID = "whatsapp:FI.2782093025460123"
BERT, CARL = "whatsapp:+447700900102", "whatsapp:+447700900103"
FAILED = {"action": "fail", "status": "undelivered", "times": 1}
STOPPED_OFFERS = "(#131050) the user stopped marketing messages from this business"


def fault(made: House, message_id: str, **more: Any) -> None:
    """Let the provider fail one message."""
    made.control("faults", {"rules": [{"match": {"id": message_id}} | more]})


def send(made: House, message_id: str, to: str, **more: Any) -> None:
    """Queue an answer, or what `more` says."""
    fields: dict[str, Any] = {"purpose": Purpose.REPLY, "freeform": Freeform(body="Yes.")} | more
    with Producer(made.url) as producer:
        producer.send(SendMessage(to=to, sender="shop", message_id=message_id, **fields))


def test_an_inbound_lets_a_person_back(tmp_path: Path) -> None:
    """After an inbound, answers go in spite of 63024, 21211, 63014, and 63033 with Meta's 131050.

    63024 came by callback, and 21211 for a user id by reply.
    """
    order = {
        "freeform": None,
        "template": Template(name="order_update", language="en", variables={"1": "7", "2": "x"}),
    }
    with house(tmp_path) as made:
        made.start_all()
        made.say("Hello", CARL)
        made.say("Hei", USER_ID)
        fault(made, "unreachable", code=63024, **FAILED)
        made.say("Hello")
        send(made, "unreachable", EMMA)
        assert made.ends("unreachable", "undelivered").stage is Stage.ACCEPTED
        send(made, "suppressed", EMMA)
        assert made.ends("suppressed").reason == "address_suppressed"
        made.say("Hello, are you there?")
        send(made, "back", EMMA)
        assert made.ends("back", "read").stage is Stage.ACCEPTED

        fault(made, "misread", action="reject", code=21211, times=1)
        send(made, "misread", USER_ID)
        assert made.ends("misread").stage is Stage.FAILED
        send(made, "user-id", USER_ID)
        assert made.ends("user-id", "read").stage is Stage.ACCEPTED

        fault(made, "blocked", code=63014, **FAILED)
        made.say("Hello", BERT)
        send(made, "blocked", BERT)
        assert made.ends("blocked", "undelivered").stage is Stage.ACCEPTED
        send(made, "held", BERT, purpose=Purpose.UTILITY, **order)
        assert made.ends("held").reason == "provider_block"
        send(made, "answered", BERT)
        assert made.ends("answered", "read").stage is Stage.ACCEPTED

        fault(made, "offers", code=63033, channel_status=STOPPED_OFFERS, **FAILED)
        send(made, "offers", CARL)
        assert made.ends("offers", "undelivered").stage is Stage.ACCEPTED
        send(made, "offer", CARL, purpose=Purpose.MARKETING)
        assert made.ends("offer").reason == "opted_out"
        send(made, "no-offer", CARL)
        assert made.ends("no-offer", "read").stage is Stage.ACCEPTED

        until_now(lambda: made.control("stats")["callbacks_pending"] == 0, "callbacks")
        assert [process.stop() for process in made.processes] == [Exit.DONE] * 3
        report = verify(sorted(made.journals.glob("*.jsonl")))
        assert report.ok, report
        assert "131050" not in made.logs()
