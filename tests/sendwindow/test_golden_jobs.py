"""Golden files: every wire form ever written stays readable forever.

A new form gets a new file, and no file is edited.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sendwindow.codec import content_digest, decode_job, encode_job
from sendwindow.contract import SendMessage
from sendwindow.errors import UnreadableJob

FOLDER = Path(__file__).parent.parent / "golden" / "jobs"

SMALLEST: dict[str, Any] = {
    "to": "whatsapp:+14155550100",
    "sender": "shop",
    "purpose": "reply",
    "freeform": {"body": "Grüße, 您好 😀"},
    "message_id": "01kaztestgolden00000000001",
}
WHOLE: dict[str, Any] = {
    "to": "whatsapp:US.ENT.1a2b3c",
    "sender": "shop.eu-1",
    "purpose": "marketing",
    "freeform": {"body": "Hello", "media_url": "https://example.com/a.jpg"},
    "template": {
        "name": "order_update",
        "language": "pt_BR",
        "variables": {"1": "Ann", "code": "4711"},
    },
    "message_id": "order-4711:shipped",
    "priority": "bulk",
    "not_before": datetime(2026, 11, 21, 9, 0, 0, 123000, UTC),
    "expires_at": datetime(2026, 11, 22, 9, tzinfo=UTC),
    "when_closed": "wait",
    "on_unknown": "hold",
    "group": "order-4711",
    "campaign": "spring-2026",
    "metadata": {"order": "4711"},
}
TEMPLATE_ONLY: dict[str, Any] = {
    "to": "whatsapp:+14155550100",
    "sender": "shop",
    "purpose": "utility",
    "template": {"name": "HX00000000000000000000000000000000"},
    "message_id": "order-4711:paid",
}
WIDER: dict[str, Any] = {
    "to": "whatsapp:+14155550100",
    "sender": "shop",
    "purpose": "utility",
    "template": {"name": "order_update", "language": "pt-BR", "variables": {"1": "x" * 1025}},
    "message_id": "order-4711:sent",
}
"""No producer writes this language or this length any more."""

FORMS = {
    "smallest-1.json": (SMALLEST, "53e3cd791ab704af0f5d0efd", 1763726400000),
    "whole-1.json": (WHOLE, "abcdcf0efb4a9f16cdf6a830", 1763726400123),
    "template-only-1.json": (TEMPLATE_ONLY, "05e5a029dd6ae324b697b8b7", 1763726400000),
    "wider-1.json": (WIDER, "c19877c8411c7ac4984e9abc", 1763726400000),
}
"""Written by our producers: file, fields, digest, enqueued at (ms)."""

ARQ_FORMS = {
    "arq-dictionary-1.json": SMALLEST,
    "arq-keywords-1.json": SMALLEST,
    "arq-spaced-1.json": SMALLEST,
}
"""Written by arq's `enqueue_job`: with one dictionary, with keyword arguments, and by a plain
`json.dumps`."""

UNREADABLE_FORMS = {"arq-pickle-1.bin": "pickled", "arq-other-function-1.json": "other_function"}


def test_every_golden_file_is_in_a_table() -> None:
    """Every golden file is in a table."""
    assert {file.name for file in FOLDER.iterdir()} == {*FORMS, *ARQ_FORMS, *UNREADABLE_FORMS}


@pytest.mark.parametrize("name", FORMS)
def test_our_own_forms_are_written_and_read(name: str) -> None:
    """Our own forms are written byte for byte and read, with the digest that recognizes a
    repetition. Stores hold both for days.
    """
    fields, digest, enqueued_ms = FORMS[name]
    job = (FOLDER / name).read_bytes()
    message = SendMessage(**fields)
    assert decode_job(job) == message
    assert encode_job(message, enqueued_ms) == job
    assert content_digest(message) == digest


@pytest.mark.parametrize("name", ARQ_FORMS)
def test_what_plain_arq_writes_is_read(name: str) -> None:
    """A job of plain arq with a JSON serializer is read."""
    message = decode_job((FOLDER / name).read_bytes(), message_id=SMALLEST["message_id"])
    assert message == SendMessage(**ARQ_FORMS[name])


@pytest.mark.parametrize("name", UNREADABLE_FORMS)
def test_what_is_no_job_of_ours_stays_unread(name: str) -> None:
    """A job that is not ours stays unread and is kept whole as a dead letter."""
    with pytest.raises(UnreadableJob) as caught:
        decode_job((FOLDER / name).read_bytes())
    assert caught.value.reason == UNREADABLE_FORMS[name]
