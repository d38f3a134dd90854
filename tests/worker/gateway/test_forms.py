"""What is read from Twilio's parameters."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendwindow.vocabulary import Channel
from tests.depth import examples
from tests.support.cast import ANNA, MESSAGE_SID, PAGE, SHOP
from tests.support.gateway_world import inbound_form, status_form
from worker.gateway.forms import GarbageError, decode_form, decode_json, first_values, read_status
from worker.gateway.inbound_form import Tap, read_inbound
from worker.status_updates import StatusReport

texts = st.text(st.characters(codec="utf-8"), max_size=30)
NAMES = [
    "MessageSid", "MessageStatus", "ErrorCode", "From", "To", "Body", "NumMedia", "MediaUrl0",
    "Latitude", "Longitude", "ButtonText", "ExternalUserId", "ParentExternalUserId", "NumSegments",
    "Forwarded", "ListId", "ReferralBody", "ChannelMetadata", "OptOutType", "ChannelPrefix",
]  # fmt: skip
forms = st.dictionaries(st.sampled_from(NAMES), texts)


def test_a_status_is_read_whole() -> None:
    """SID, status, code and channel come from the form; message, attempt and life from the query.

    Twilio's signature covers that query.
    """
    form = read_status(
        dict(status_form("failed", ErrorCode="63016")), {"m": "m1", "a": "12", "q": "1795000000000"}
    )
    assert form == StatusReport(
        MESSAGE_SID, "failed", 63016, Channel.WHATSAPP, "m1", 12, 1795000000000
    )


def test_a_query_of_the_version_before_names_no_life() -> None:
    """A query of the previous version names no life: message and attempt are enough."""
    assert read_status(dict(status_form()), {"m": "m1", "a": "12"}).life is None


def test_the_old_names_are_read_too() -> None:
    """SmsSid and SmsStatus are read as the old names of MessageSid and MessageStatus."""
    form = read_status({"SmsSid": MESSAGE_SID, "SmsStatus": "sent", "To": "+14155550123"}, {})
    assert form == StatusReport(MESSAGE_SID, "sent", None, Channel.SMS, None, None)


@pytest.mark.parametrize(
    ("params", "channel"),
    [
        ({"From": SHOP, "To": ANNA}, Channel.WHATSAPP),
        ({"From": PAGE}, Channel.MESSENGER),
        ({"From": "+1415"}, Channel.SMS),
        ({"ChannelPrefix": "Messenger"}, Channel.MESSENGER),
        ({"From": "rcs:agent"}, None),
        ({}, Channel.SMS),
    ],
)
def test_the_channel_follows_from_the_addresses(
    params: dict[str, str], channel: Channel | None
) -> None:
    """A prefix names the channel, no prefix means SMS, and an unknown channel is unknown, not
    wrong.
    """
    assert (
        read_status({"MessageSid": MESSAGE_SID, "MessageStatus": "sent", **params}, {}).channel
        is channel
    )


@pytest.mark.parametrize("code", ["", "0", "abc", "-1", "6e4", "9" * 30, " 63016 "])
def test_an_unreadable_error_code_counts_as_none(code: str) -> None:
    """An unreadable error code does not lose the status, and surrounding blanks are ignored."""
    form = read_status(dict(status_form("failed", ErrorCode=code)), {})
    assert form.code == (63016 if "63016" in code else None)


@pytest.mark.parametrize(
    ("words", "codes"),
    [
        ("131050", {131050}),
        ("(#131050) Unable to deliver the message to +14155550123", {131050}),
        ('{"code":131050,"title":"User stopped marketing"}', {131050}),
        ("131026: undeliverable; 131050", {131026, 131050}),
        ("error=131050.", {131050}),
        ("1310501", set()),
        ("+14155131050", set()),
        ("131 050", set()),
        ("", set()),
        ("x" * 5000 + "131050", set()),
    ],
)
def test_of_the_channels_own_words_only_its_codes_are_kept(words: str, codes: set[int]) -> None:
    """Only Meta's codes are kept of the channel's message.

    Its text may name a person, and numbers of another length are no codes.
    """
    report = read_status(
        dict(status_form("failed", ErrorCode="63033", ChannelStatusMessage=words)), {}
    )
    assert report.channel_codes == codes
    assert not words or words.isdigit() or words not in repr(report)


@pytest.mark.parametrize(
    ("to", "is_one"), [("whatsapp:FI.2782093025460123", True), (ANNA, False), (None, False)]
)
def test_a_status_says_whether_it_is_of_a_user_id(to: str | None, is_one: bool) -> None:
    """A status shows whether it is about a user id, because some codes mean something else for
    one.
    """
    assert read_status(dict(status_form("failed", To=to)), {}).to_user_id is is_one


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("21610", 21610),
        ("21610.0", 21610),
        ('"21610"', 21610),
        ("572006", 572006),
        ("21610.5", None),
        ("NaN", None),
    ],
)
def test_an_error_code_in_json_is_read_however_its_number_is_written(
    written: str, code: int | None
) -> None:
    """An error code in JSON may be a whole number with a point or in quotes.

    A fraction is no code.
    """
    body = f'{{"MessageSid": "{MESSAGE_SID}", "MessageStatus": "failed", "ErrorCode": {written}}}'
    assert read_status(dict(decode_json(body.encode())), {}).code == code


def test_an_inbound_message_is_read() -> None:
    """What decides the meaning of an inbound message is read: text, button, opt-out, identity."""
    form = read_inbound(
        dict(
            inbound_form(
                "",
                ButtonText="Yes",
                ButtonPayload="confirm-7",
                ButtonType="REPLY",
                WaId="+14155550123",
                OptOutType="HELP",
            )
        )
    )
    assert form.tap == Tap("Yes", "confirm-7")
    assert (form.opt_out_type, form.wa_id) == ("HELP", "14155550123")


def test_a_list_choice_is_a_tap() -> None:
    """A choice from a list counts as the person's act, like a button."""
    assert read_inbound(dict(inbound_form("", ListId="row-1", ListTitle="Stop"))).tap == Tap(
        "Stop", "row-1"
    )
    assert read_inbound(dict(inbound_form("Stop", ListId="row-1"))).tap == Tap("Stop", "row-1")


@pytest.mark.parametrize(
    "extras",
    [{"ButtonText": "Stop"}, {"ListTitle": "Stop"}, {"ButtonText": "Stop", "ButtonPayload": ""}],
)
def test_text_without_a_payload_was_typed(extras: dict[str, str]) -> None:
    """Text without a payload counts as typed. Only a payload shows a button or a row."""
    form = read_inbound(dict(inbound_form("", **extras)))
    assert form.tap is None
    assert form.typed == "Stop"
    assert read_inbound(dict(inbound_form("Hello", **extras))).typed == "Hello"


@pytest.mark.parametrize(
    ("address", "read"),
    [
        ("rcs:+14155550123", "+14155550123"),
        ("RCS:+14155550123", "+14155550123"),
        ("rcs:agent_1", "rcs:agent_1"),
    ],
)
def test_a_phone_in_rcs_is_the_person_of_its_text_messages(address: str, read: str) -> None:
    """An RCS phone number is the same person as in SMS, so they share opt-outs.

    An RCS agent is no person.
    """
    assert read_inbound(dict(inbound_form(From=address, To=address))).address == read
    assert read_inbound(dict(inbound_form(From=address, To=address))).sender_address == read


def test_no_repr_shows_what_a_person_said() -> None:
    """No repr of a form shows a person or a text, so that errors and logs do not."""
    shown = repr(
        read_inbound(
            dict(inbound_form("my secret wish", Latitude="52.5", Longitude="13.4", ButtonText="Hi"))
        )
    )
    for personal in ("my secret wish", "Anna", "14155550123", "52.5", "Hi"):
        assert personal not in shown


@given(forms)
@settings(max_examples=examples(60))
def test_any_extras_are_read(params: dict[str, str]) -> None:
    """An inbound form with MessageSid, From and To is read, whatever other fields it has."""
    form = read_inbound(params | {"MessageSid": MESSAGE_SID, "From": ANNA, "To": SHOP})
    assert form.address == ANNA


@given(st.binary(max_size=200))
@settings(max_examples=examples(60))
def test_bytes_are_decoded_or_garbage(body: bytes) -> None:
    """Decoders raise nothing but GarbageError, whatever the bytes are."""
    for decode in (decode_form, decode_json):
        with suppress(GarbageError):
            first_values(decode(body))


def test_json_values_become_texts() -> None:
    """Numbers and flags become their JSON text, and nested values are left out."""
    assert decode_json(b'{"a": "x", "b": 1, "c": true, "d": {}, "e": [1], "f": null}') == [
        ("a", "x"),
        ("b", "1"),
        ("c", "true"),
    ]
