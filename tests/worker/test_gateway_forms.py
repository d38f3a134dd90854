"""What is read from Twilio's parameters, and what a status callback proves and teaches."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.status import RANKS
from sendwindow.vocabulary import Channel
from tests.worker.gateway_world import ANNA, PAGE, SHOP, SID, inbound_form, rules, status_form
from worker.gateway.evidence import update_of
from worker.gateway.forms import GarbageError, StatusForm, decode_form, decode_json, first_values, read_status
from worker.gateway.inbound_form import Location, Media, Tap, read_inbound
from worker.values import CloseWindow, Effect, OptOut, PauseSender, SetTag, SetTemplate, StatusUpdate, SuppressAddress

texts = st.text(st.characters(codec="utf-8"), max_size=30)
NAMES = [
    "MessageSid", "MessageStatus", "ErrorCode", "From", "To", "Body", "NumMedia", "MediaUrl0", "Latitude", "Longitude",
    "ButtonText", "ExternalUserId", "ParentExternalUserId", "NumSegments", "Forwarded", "ListId", "ReferralBody",
    "ChannelMetadata", "OptOutType", "ChannelPrefix",
]  # fmt: skip
forms = st.dictionaries(st.sampled_from(NAMES), texts)


def reported(
    status: str, code: int | None = None, channel: Channel = Channel.WHATSAPP, attempt: int = 1
) -> StatusUpdate:
    """What becomes of one report."""
    return update_of(StatusForm(SID, status, code, channel, "m1", attempt), rules(), 0.0)


def test_a_status_is_read_whole() -> None:
    """SID, status, code and channel from the form; message and attempt from the signed query."""
    form = read_status(dict(status_form("failed", ErrorCode="63016")), {"m": "m1", "a": "12"})
    assert form == StatusForm(SID, "failed", 63016, Channel.WHATSAPP, "m1", 12)


def test_the_old_names_are_read_too() -> None:
    """SmsSid and SmsStatus are what they were called before."""
    form = read_status({"SmsSid": SID, "SmsStatus": "sent", "To": "+14155550123"}, {})
    assert form == StatusForm(SID, "sent", None, Channel.SMS, None, None)


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
def test_the_channel_follows_from_the_addresses(params: dict[str, str], channel: Channel | None) -> None:
    """A prefix names the channel, none is SMS, and a channel of tomorrow is unknown instead of wrong."""
    assert read_status({"MessageSid": SID, "MessageStatus": "sent", **params}, {}).channel is channel


@pytest.mark.parametrize("code", ["", "0", "abc", "-1", "6e4", "9" * 30, " 63016 "])
def test_an_unreadable_error_code_counts_as_none(code: str) -> None:
    """A status must not be lost over an extra; surrounding blanks do not make a number unreadable."""
    form = read_status(dict(status_form("failed", ErrorCode=code)), {})
    assert form.code == (63016 if "63016" in code else None)


def test_an_inbound_message_is_read_whole() -> None:
    """Text, media, button, location, referral, reply and identity each in their place."""
    form = read_inbound(
        dict(
            inbound_form(
                "",
                NumMedia="2",
                MediaUrl0="https://api.twilio.com/1",
                MediaContentType0="image/png",
                MediaUrl1="https://api.twilio.com/2",
                ButtonText="Yes",
                ButtonPayload="confirm-7",
                ButtonType="REPLY",
                Latitude="52.5",
                Longitude="13.4",
                Label="Office",
                ExternalUserId="US.1a2b",
                ParentExternalUserId="US.ENT.3c",
                ReferralHeadline="Sale",
                OriginalRepliedMessageSid="SM" + "d" * 32,
                Forwarded="true",
                OptOutType="HELP",
                MessagingServiceSid="MG" + "1" * 32,
                NumSegments="1",
            )
        )
    )
    assert form.media == (Media("https://api.twilio.com/1", "image/png"), Media("https://api.twilio.com/2", ""))
    assert form.tap == Tap("REPLY", "Yes", "confirm-7")
    assert form.words == "Yes"
    assert form.location == Location("52.5", "13.4", "", "Office")
    assert (form.external_user_id, form.parent_external_user_id) == ("US.1a2b", "US.ENT.3c")
    assert form.referral == {"ReferralHeadline": "Sale"}
    assert form.replied_to_sid == "SM" + "d" * 32
    assert form.is_forwarded
    assert not form.is_frequently_forwarded
    assert (form.opt_out_type, form.segments, form.profile_name) == ("HELP", 1, "Anna")


def test_a_list_choice_is_a_tap() -> None:
    """A row chosen from a list is something the person did, like a button."""
    assert read_inbound(dict(inbound_form("", ListId="row-1", ListTitle="Stop"))).words == "Stop"


def test_no_repr_shows_what_a_person_said() -> None:
    """A form in an error or a log line names no person and no text."""
    shown = repr(read_inbound(dict(inbound_form("my secret wish", Latitude="52.5", Longitude="13.4", ButtonText="Hi"))))
    for personal in ("my secret wish", "Anna", "14155550123", "52.5", "Hi"):
        assert personal not in shown


@given(forms)
@settings(max_examples=60)
def test_any_extras_are_read(params: dict[str, str]) -> None:
    """With MessageSid, From and To in place an inbound message is read, whatever else it carries."""
    form = read_inbound(params | {"MessageSid": SID, "From": ANNA, "To": SHOP})
    assert form.address == ANNA


@given(st.binary(max_size=200))
@settings(max_examples=60)
def test_bytes_are_decoded_or_garbage(body: bytes) -> None:
    """No bytes make the decoders raise anything but GarbageError."""
    for decode in (decode_form, decode_json):
        with suppress(GarbageError):
            first_values(decode(body))


def test_json_values_become_texts() -> None:
    """Numbers and flags read as their JSON text, nested values are left out."""
    assert decode_json(b'{"a": "x", "b": 1, "c": true, "d": {}, "e": [1], "f": null}') == [
        ("a", "x"),
        ("b", "1"),
        ("c", "true"),
    ]


@pytest.mark.parametrize("status", [*RANKS, "teleported"])
def test_a_status_is_kept_verbatim_with_its_rank(status: str) -> None:
    """Rank and finality are those of the policies; a status nobody knows yet is kept and ends nothing."""
    update = reported(status)
    assert (update.status, update.rank) == (status, RANKS.get(status, 35))
    assert update.is_final == (status in {"failed", "undelivered", "canceled", "delivered", "read"})


@pytest.mark.parametrize(
    ("code", "effect"),
    [
        (21610, OptOut),
        (63014, OptOut),
        (63033, OptOut),
        (63016, CloseWindow),
        (63003, SuppressAddress),
        (63001, PauseSender),
        (63041, SetTemplate),
    ],
)
def test_a_failure_teaches_what_the_catalogue_says(code: int, effect: type[Effect]) -> None:
    """An error that comes with a callback teaches the same as one that comes with the answer."""
    assert [type(one) for one in reported("failed", code).effects] == [effect]


def test_a_code_beside_a_good_status_is_a_warning() -> None:
    """A warning such as 63037 beside `sent` closes nothing and opts nobody out."""
    assert reported("sent", 21610).effects == ()
    assert reported("delivered", 63016).reopen_after_ms is None


@pytest.mark.parametrize(
    ("status", "code", "after"),
    [
        ("failed", 30500, True),
        ("failed", 63018, True),
        ("failed", 63016, True),
        ("failed", 30410, False),
        ("failed", 30007, False),
        ("failed", None, False),
        ("undelivered", 30500, False),
        ("sent", None, False),
    ],
)
def test_only_a_definite_and_passing_failure_reopens(status: str, code: int | None, after: bool) -> None:
    """A new attempt needs proof that the first one did not arrive and a cause that passes; 30410 is possibly sent."""
    assert (reported(status, code).reopen_after_ms is not None) == after


def test_a_closed_window_is_decided_again_at_once() -> None:
    """63016 closes our record, so the next decision is another one; there is nothing to wait for."""
    assert reported("failed", 63016).reopen_after_ms == 0


def test_retries_after_failures_end() -> None:
    """The catalogue's number of attempts holds for failures that are reported later too."""
    entry = rules().errors.lookup(30500, message_status="failed", asynchronous=True)
    assert entry.max_tries
    assert reported("failed", 30500, attempt=entry.max_tries).reopen_after_ms is None


@pytest.mark.parametrize(
    ("status", "code", "state"),
    [("sent", None, None), ("sent", 63016, None), ("failed", 63016, "dead"), ("failed", 30007, None)],
)
def test_a_messenger_failure_speaks_against_the_tag(status: str, code: int | None, state: str | None) -> None:
    """The codes a dead ACCOUNT_UPDATE produces open the Page's breaker; what proves it is for the store to say."""
    tags = [one.state for one in reported(status, code, Channel.MESSENGER).effects if isinstance(one, SetTag)]
    assert tags == ([] if state is None else [state])
    assert not any(isinstance(one, SetTag) for one in reported(status, code, Channel.WHATSAPP).effects)
