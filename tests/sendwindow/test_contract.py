"""The contract: what a SendMessage takes, what it refuses, and that no error repeats a value."""

import copy
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from sendwindow.contract import LIFETIME, ON_UNKNOWN, Freeform, SendMessage, Template
from sendwindow.errors import InvalidMessage
from sendwindow.ids import message_id_complaint, new_message_id
from sendwindow.vocabulary import OnUnknown, Priority, Purpose, WhenClosed
from tests.sendwindow.rig import a_message

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def refused(**fields: Any) -> list[tuple[str, str]]:
    """Return field and problem of every fault of a message, which must have at least one."""
    with pytest.raises(InvalidMessage) as caught:
        a_message(**fields)
    assert all(fault.remedy for fault in caught.value.faults)
    return [(fault.field, fault.problem) for fault in caught.value.faults]


def test_a_message_needs_four_things() -> None:
    """A message needs recipient, sender, purpose and content; every other field has a default."""
    message = a_message()
    assert (message.priority, message.when_closed) == (Priority.NORMAL, WhenClosed.REFUSE)
    assert (message.not_before, message.expires_at, message.group, message.campaign) == (
        None,
        None,
        None,
        None,
    )
    assert message.metadata == {}
    assert message.address.text == message.to


def test_a_message_ends_at_its_own_expiry_or_after_its_lifetime() -> None:
    """Without `expires_at`, a message ends when the lifetime of its purpose has passed."""
    own = NOON + timedelta(minutes=5)
    assert a_message(expires_at=own).ends_at(NOON) == own
    assert a_message(purpose=Purpose.MARKETING).ends_at(NOON) == NOON + timedelta(hours=72)


def test_all_faults_are_named_at_once() -> None:
    """The error lists every fault with field, problem and remedy."""
    with pytest.raises(InvalidMessage) as caught:
        SendMessage()  # type: ignore[call-arg]  # what a dictionary with everything missing amounts to
    assert [fault.field for fault in caught.value.faults] == ["to", "sender", "purpose"]
    assert str(caught.value) == "invalid message: " + " | ".join(
        str(fault) for fault in caught.value.faults
    )
    assert str(caught.value.faults[0]) == "to: is missing; give it"


@pytest.mark.parametrize(
    ("fields", "field", "problem"),
    [
        ({"to": "4155550100"}, "to", "is not a channel address"),
        ({"to": 5}, "to", "is not a text"),
        ({"sender": "my shop"}, "sender", "not allowed"),
        ({"sender": "+14155550100"}, "sender", "not allowed"),
        ({"sender": "14155550100"}, "sender", "shaped like an address"),
        ({"campaign": "c" * 65}, "campaign", "not allowed"),
        ({"campaign": "a|b"}, "campaign", "not allowed"),
        ({"group": ""}, "group", "not allowed"),
        ({"group": "US.1a2b3c"}, "group", "shaped like an address"),
        ({"purpose": "spam"}, "purpose", "is not one of the words allowed"),
        ({"priority": "high"}, "priority", "is not one of the words allowed"),
        ({"message_id": "whatsapp:1"}, "message_id", "shaped like an address"),
        ({"message_id": "415-555-0100"}, "message_id", "shaped like an address"),
        ({"message_id": "a" * 65}, "message_id", "not allowed"),
        ({"message_id": "order/1"}, "message_id", "not allowed"),
        ({"message_id": 5}, "message_id", "is not a text"),
        ({"freeform": None}, "message", "has neither freeform nor template"),
        ({"freeform": {}}, "freeform", "has neither body nor media_url"),
        ({"freeform": "Hello"}, "freeform", "is not a dictionary"),
        ({"freeform": {"body": "x" * 1601}}, "freeform.body", "1601 UTF-16 units"),
        ({"freeform": {"body": "\ud800"}}, "freeform.body", "half of a surrogate pair"),
        ({"freeform": {"media_url": "ftp://x"}}, "freeform.media_url", "not an http"),
        (
            {"freeform": {"media_url": ["https://x/1", "https://x/2"]}},
            "freeform.media_url",
            "is not a text",
        ),
        ({"template": {"name": "a b"}}, "template.name", "not allowed"),
        (
            {"template": {"name": "t", "language": "english"}},
            "template.language",
            "is not a language code",
        ),
        (
            {"template": {"name": "t", "variables": {"1": None}}},
            "template.variables.1",
            "is not a text",
        ),
        ({"template": {"name": "t", "variables": {"1": ""}}}, "template.variables.1", "is empty"),
        (
            {"template": {"name": "t", "variables": ["a"]}},
            "template.variables",
            "is not a dictionary",
        ),
        (
            {"template": {"name": "t", "variables": {1: "a"}}},
            "template.variables.1",
            "is not a text",
        ),
        ({"urgent": True}, "urgent", "is not a field of the contract"),
        ({"not_before": NOON.replace(tzinfo=None)}, "not_before", "has no time zone"),
        ({"not_before": "2026-11-21T12:00:00"}, "not_before", "has no time zone"),
        ({"not_before": "tomorrow"}, "not_before", "is not an instant"),
        ({"not_before": 1763726400}, "not_before", "is not an instant"),
        (
            {"expires_at": datetime.max.replace(tzinfo=timezone(timedelta(hours=-14)))},
            "expires_at",
            "years 2000",
        ),
        (
            {"expires_at": datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))},
            "expires_at",
            "years 2000",
        ),
        ({"not_before": NOON, "expires_at": NOON}, "expires_at", "is not after not_before"),
        (
            {"not_before": NOON, "expires_at": NOON + timedelta(days=7, milliseconds=1)},
            "expires_at",
            "7 days",
        ),
        ({"metadata": {"order": 5}}, "metadata.order", "is not a text"),
        ({"metadata": {"order": "x" * 513}}, "metadata.order", "has 513 UTF-16 units, 512 at most"),
        ({"metadata": {"order": "\udfff"}}, "metadata.order", "half of a surrogate pair"),
        ({"metadata": {"an order": "x"}}, "metadata", "has a name that has a character"),
        ({"metadata": {f"k{number}": "x" for number in range(17)}}, "metadata", "17 entries"),
    ],
)
def test_a_fault_names_its_field(fields: dict[str, Any], field: str, problem: str) -> None:
    """Each limit is checked before anything is queued, and the error names the field."""
    [(named, said)] = refused(**fields)
    assert named == field
    assert problem in said


@pytest.mark.parametrize(
    "fields",
    [
        {"freeform": {"body": "x" * 1600, "media_url": "https://example.com/a.jpg"}},
        {"freeform": Freeform(media_url="https://example.com/a.jpg")},
        {
            "freeform": None,
            "template": Template(name="order_update", language="pt_BR", variables={"1": "Ann"}),
        },
        {"template": {"name": "HX" + "0" * 32, "language": "fil"}},
        {"template": {"name": "t", "language": "pt-BR", "variables": {"1": "x" * 1600}}},
        {"message_id": "order-4711:shipped"},
        {"message_id": "a" * 64},
        {"not_before": NOON, "expires_at": NOON + timedelta(days=7)},
        {"metadata": {f"k{number}": "x" * 512 for number in range(16)}},
        {"metadata": {"empty": ""}},
        {"sender": "s" * 64, "campaign": "spring.2026_a-1", "group": "g"},
    ],
)
def test_the_near_side_of_every_limit_is_taken(fields: dict[str, Any]) -> None:
    """A limit is the last value that passes."""
    assert a_message(**fields).message_id


SECRETS = ["+14155550100", "Hello Ann Smith", "US.1a2b3c4d5e"]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(
    "field",
    [
        "to",
        "sender",
        "purpose",
        "message_id",
        "not_before",
        "group",
        "metadata",
        "freeform",
        "when_closed",
    ],
)
def test_no_error_repeats_a_value(secret: str, field: str) -> None:
    """No error holds a value that was given, because errors end up in logs.

    That covers text, repr and everything linked from the error.
    """
    with pytest.raises(InvalidMessage) as caught:
        a_message(**{field: {secret: f"{secret} \n" * 400}})
    assert secret not in str(caught.value)
    assert secret not in repr(caught.value)
    assert caught.value.__context__ is None


def test_a_strange_field_name_is_not_repeated() -> None:
    """A value in the place of a field's name is not in the error."""
    [(field, _)] = refused(**{"+14155550100": "x"})
    assert field == "(a name not shown)"


@pytest.mark.parametrize("value", [5, [], {"to": "x"}])
def test_validation_of_any_kind_raises_our_error(value: object) -> None:
    """`model_validate` and `model_validate_json` raise InvalidMessage like the constructor."""
    with pytest.raises(InvalidMessage):
        SendMessage.model_validate(value)
    with pytest.raises(InvalidMessage, match="is not JSON"):
        SendMessage.model_validate_json("{")
    with pytest.raises(InvalidMessage, match="body: is blank"):
        Freeform(body=" ")


def test_json_and_dictionaries_make_the_same_message() -> None:
    """A message survives its own JSON and its own dictionary."""
    message = a_message(
        not_before=NOON, template={"name": "t", "variables": {"1": "Ann"}}, metadata={"order": "7"}
    )
    assert SendMessage.model_validate_json(message.model_dump_json()) == message
    assert SendMessage.model_validate(message.model_dump()) == message
    assert SendMessage.model_validate(message) is message


def test_a_model_of_a_backend_may_hold_a_message() -> None:
    """Inside another pydantic model faults are pydantic's own, under the outer field."""

    class Request(BaseModel):
        message: SendMessage

    with pytest.raises(ValidationError) as caught:
        Request.model_validate(
            {"message": {"to": "x", "sender": "shop", "purpose": "reply", "freeform": {"body": ""}}}
        )
    assert [error["loc"] for error in caught.value.errors()] == [
        ("message", "to"),
        ("message", "freeform", "body"),
    ]


def test_a_message_shows_no_person() -> None:
    """The repr of a message leaves out recipient, content and metadata, because it may be
    logged.
    """
    message = a_message(
        freeform={"body": "Hello Ann"},
        template={"name": "t", "variables": {"1": "Ann"}},
        metadata={"a": "Ann"},
    )
    assert "Ann" not in repr(message)
    assert "Ann" not in str(message)
    assert message.to not in repr(message)


def test_a_message_cannot_be_changed() -> None:
    """A message is immutable, so that the checked message is the one that is sent."""
    with pytest.raises(ValidationError):
        a_message().to = "+14155550101"


def test_instants_are_kept_in_utc_and_whole_milliseconds() -> None:
    """Instants become UTC in whole milliseconds, as on the wire, from any offset."""
    berlin = timezone(timedelta(hours=1))
    message = a_message(
        not_before=datetime(2026, 11, 21, 13, 0, 0, 123999, berlin),
        expires_at="2026-11-21T14:00:00+01:00",
    )
    assert message.not_before == datetime(2026, 11, 21, 12, 0, 0, 123000, UTC)
    assert message.not_before.tzinfo is UTC
    assert message.expires_at == datetime(2026, 11, 21, 13, tzinfo=UTC)


@pytest.mark.parametrize("purpose", Purpose)
def test_every_purpose_has_a_lifetime_and_a_rule(purpose: Purpose) -> None:
    """Every purpose has a lifetime and a rule."""
    message = a_message(purpose=purpose)
    assert message.lifetime == LIFETIME[purpose] <= timedelta(days=7)
    assert message.unknown_rule == ON_UNKNOWN[purpose]
    assert a_message(purpose=purpose, on_unknown="hold").unknown_rule is OnUnknown.HOLD


def test_a_message_ends_at_its_own_instant_or_after_its_lifetime() -> None:
    """Without `expires_at`, a message lasts for the lifetime of its purpose from its start."""
    start = datetime(2026, 11, 21, 12, tzinfo=UTC)
    assert a_message(purpose="reply").ends_at(start) == start + timedelta(hours=24)
    own = start + timedelta(hours=1)
    assert a_message(purpose="reply", expires_at=own).ends_at(start) == own


def test_the_lifetimes_are_those_documented() -> None:
    """Codes live minutes, service messages a day, and marketing three."""
    assert {purpose.value: LIFETIME[purpose] for purpose in Purpose} == {
        "authentication": timedelta(minutes=10),
        "reply": timedelta(hours=24),
        "utility": timedelta(hours=24),
        "account_update": timedelta(hours=24),
        "marketing": timedelta(hours=72),
    }


def test_a_message_without_an_id_gets_one_that_stays() -> None:
    """Sending one object twice is one message, also when the producer chose its id."""
    message = a_message(message_id=None)
    assert message.message_id == copy.deepcopy(message).message_id != a_message().message_id


def test_new_ids_sort_by_time_and_are_valid() -> None:
    """A later id sorts later (to the millisecond) and passes the contract's check."""
    ids = [new_message_id() for _ in range(100)]
    assert len(set(ids)) == 100
    assert [made[:10] for made in ids] == sorted(made[:10] for made in ids)
    assert all(message_id_complaint(made) is None and len(made) == 26 for made in ids)


@pytest.mark.parametrize("text", ["447700900201", "4477-009-00201", "44.7700.900201"])
def test_an_id_shaped_like_a_phone_number_is_to_be_replaced(text: str) -> None:
    """The remedy is another id.

    A word before the number would leave the number in keys and logs.
    """
    complaint = message_id_complaint(text)
    assert complaint is not None
    assert complaint[1].startswith("use an id that holds no phone number")


@given(st.text(max_size=80))
def test_an_id_is_taken_or_refused_but_never_changed(text: str) -> None:
    """No id is trimmed or folded, so that two different ids stay different."""
    try:
        message = a_message(message_id=text)
    except InvalidMessage:
        assert message_id_complaint(text) is not None
    else:
        assert message.message_id == text
