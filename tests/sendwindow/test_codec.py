"""The codec: arq's envelope in JSON, the jobs that it refuses, and the digest that makes ids
idempotent.
"""

import json
import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendwindow.codec import (
    MAX_JOB_BYTES,
    arq_deserializer,
    arq_serializer,
    content_digest,
    decode_job,
    encode_job,
)
from sendwindow.contract import SendMessage
from sendwindow.limits import body_complaint, variable_complaints
from sendwindow.message_errors import UNREADABLE, InvalidMessage, UnreadableJob
from sendwindow.vocabulary import OnUnknown, Priority, Purpose, WhenClosed
from tests.sendwindow.rig import a_message

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)

NAMES = st.from_regex(r"[a-z][A-Za-z0-9._-]{0,20}", fullmatch=True)
BODIES = st.text(min_size=1, max_size=50).filter(lambda text: body_complaint(text) is None)
VALUES = st.text(min_size=1, max_size=20).filter(
    lambda text: not list(variable_complaints({"1": text}))
)
FREEFORMS = st.fixed_dictionaries(
    {"body": BODIES}, optional={"media_url": st.just("https://example.com/a.jpg")}
)
TEMPLATES = st.fixed_dictionaries(
    {"name": NAMES},
    optional={
        "language": st.sampled_from(["en", "pt_BR"]),
        "variables": st.dictionaries(
            st.from_regex("[a-z0-9]{1,16}", fullmatch=True), VALUES, max_size=5
        ),
    },
)
INSTANTS = st.integers(1_767_225_600, 2_000_000_000).map(
    lambda seconds: datetime.fromtimestamp(seconds, UTC)
)
MESSAGES = st.fixed_dictionaries(
    {
        "to": st.sampled_from(
            ["+14155550100", "whatsapp:+14155550100", "whatsapp:US.abc", "messenger:4711"]
        ),
        "sender": NAMES,
        "purpose": st.sampled_from(Purpose),
        "freeform": FREEFORMS,
    },
    optional={
        "template": TEMPLATES,
        "message_id": NAMES,
        "priority": st.sampled_from(Priority),
        "not_before": INSTANTS,
        "when_closed": st.sampled_from(WhenClosed),
        "on_unknown": st.sampled_from(OnUnknown),
        "group": NAMES,
        "campaign": NAMES,
        "metadata": st.dictionaries(NAMES, st.text(max_size=20), max_size=3),
    },
).map(lambda fields: SendMessage(**fields))


@given(MESSAGES)
def test_what_is_written_is_read_back(message: SendMessage) -> None:
    """Every message and its digest survive the wire unchanged."""
    job = encode_job(message, 1763726400000)
    assert decode_job(job) == message
    assert content_digest(decode_job(job)) == content_digest(message)
    envelope = json.loads(job)
    assert (envelope["t"], envelope["f"], envelope["k"], envelope["et"]) == (
        None,
        "send_message",
        {},
        1763726400000,
    )


@given(MESSAGES)
def test_arq_with_our_serializer_writes_what_we_read(message: SendMessage) -> None:
    """With our serializer arq writes the same message as a dictionary, an object, or keyword
    arguments.
    """
    fields = json.loads(message.model_dump_json(exclude_defaults=True))
    for positional, named in (([fields], {}), ([message], {}), ([], fields)):
        job: dict[str, Any] = {"t": None, "f": "send_message", "a": positional, "k": named, "et": 1}
        assert decode_job(arq_serializer(job)) == message


def test_defaults_are_left_out() -> None:
    """Defaults are left out, so that jobs stay small and a default may be decided later."""
    fields = json.loads(encode_job(a_message(message_id="m1"), 1))["a"][0]
    assert fields.keys() == {"to", "sender", "purpose", "freeform", "message_id"}


def test_the_stores_id_outranks_the_one_inside() -> None:
    """The store's id outranks the one inside, since a plain arq job may have none, or another."""
    job = encode_job(a_message(message_id="inside"), 1)
    assert decode_job(job, "outside").message_id == "outside"
    assert decode_job(job).message_id == "inside"


def test_a_job_is_64_kib_at_most() -> None:
    """A job over 64 KiB is an error before anything is queued, and names what to shorten."""
    variables = {str(number): "x" * 1024 for number in range(64)}
    with pytest.raises(InvalidMessage, match="shorten variables or metadata"):
        encode_job(a_message(template={"name": "t", "variables": variables}), 1)


def an_envelope(**changes: Any) -> bytes:
    fields = {
        "to": "+14155550100",
        "sender": "s",
        "purpose": "reply",
        "freeform": {"body": "Hello"},
    }
    return json.dumps(
        {"t": None, "f": "send_message", "a": [fields], "k": {}, "et": 1, **changes}
    ).encode()


@pytest.mark.parametrize(
    ("job", "reason"),
    [
        (pickle.dumps({"t": None, "f": "send_message"}), "pickled"),
        (b" " * (MAX_JOB_BYTES + 1), "too_large"),
        (b"", "not_json"),
        (b"\xff", "not_json"),
        (b"{", "not_json"),
        (b"null", "not_a_job"),
        (b"[" * 60000, "not_json"),
        (an_envelope(et=float("nan")), "not_json"),
        (b"[]", "not_a_job"),
        (b"{}", "not_a_job"),
        (an_envelope(a={}), "not_a_job"),
        (an_envelope(k=[]), "not_a_job"),
        (an_envelope(f=None), "not_a_job"),
        (an_envelope(f="send_email"), "other_function"),
        (an_envelope(a=[]), "arguments"),
        (an_envelope(a=[{}, {}]), "arguments"),
        (an_envelope(a=["x"]), "arguments"),
        (an_envelope(k={"to": "x"}), "arguments"),
        (an_envelope(a=[{"to": "x"}]), "invalid"),
    ],
)
def test_an_unreadable_job_says_why(job: bytes, reason: str) -> None:
    """An unreadable job has a stable reason for its dead letter, and a pickle is never opened."""
    with pytest.raises(UnreadableJob) as caught:
        decode_job(job)
    assert caught.value.reason == reason
    assert bool(caught.value.faults) == (reason == "invalid")
    assert UNREADABLE[reason] in str(caught.value)
    assert caught.value.__context__ is None


def test_the_deserializer_for_arq_reads_json_only() -> None:
    """The deserializer for arq reads JSON only, for use by arq's tools."""
    assert arq_deserializer(an_envelope())["f"] == "send_message"
    with pytest.raises(UnreadableJob, match="never opened"):
        arq_deserializer(pickle.dumps(1))


def test_the_serializer_for_arq_names_what_it_cannot_write() -> None:
    """The serializer writes aware datetimes as ISO 8601, and names a type that JSON lacks."""
    assert arq_serializer({"at": NOON}) == b'{"at":"2026-11-21T12:00:00+00:00"}'
    with pytest.raises(TypeError, match="a job cannot hold a set"):
        arq_serializer({"to": {"+14155550100"}})


@pytest.mark.parametrize(
    "fields",
    [
        {"to": "whatsapp:+14155550101"},
        {"sender": "other"},
        {"purpose": "utility"},
        {"freeform": {"body": "Hello!"}},
        {"template": {"name": "t"}},
        {"group": "g"},
    ],
)
def test_the_digest_tells_messages_apart(fields: dict[str, Any]) -> None:
    """Recipient, sender, purpose, content and group decide the digest."""
    assert content_digest(a_message(**fields)) != content_digest(a_message())


@pytest.mark.parametrize(
    "fields",
    [
        {"message_id": "m1"},
        {"priority": "bulk"},
        {"not_before": NOON},
        {"expires_at": NOON + timedelta(days=1)},
        {"when_closed": "wait"},
        {"on_unknown": "hold"},
        {"campaign": "c"},
        {"metadata": {"a": "b"}},
    ],
)
def test_the_digest_forgives_what_a_repetition_may_change(fields: dict[str, Any]) -> None:
    """A repeated call may compute its times again without becoming another message."""
    assert content_digest(a_message(**fields)) == content_digest(a_message())


def test_the_digest_does_not_depend_on_the_order_of_variables() -> None:
    """The order of variables does not change the digest."""
    one = a_message(template={"name": "t", "variables": {"1": "a", "2": "b"}})
    two = a_message(template={"name": "t", "variables": {"2": "b", "1": "a"}})
    assert content_digest(one) == content_digest(two)
