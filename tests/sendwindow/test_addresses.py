"""Addresses: exactly the forms that Twilio takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendwindow.addresses import (
    AddressError,
    AddressKind,
    is_user_id,
    looks_like_address,
    parse_address,
    parse_sender_address,
)
from sendwindow.vocabulary import Channel

PHONES = st.from_regex(r"\+[1-9][0-9]{1,14}", fullmatch=True)
BSUIDS = st.from_regex(r"[A-Z]{2}\.(ENT\.)?[A-Za-z0-9]{7,128}", fullmatch=True)
DIGITS = st.from_regex(r"[0-9]{1,32}", fullmatch=True)
ADDRESSES = st.one_of(
    PHONES,
    PHONES.map(lambda text: f"whatsapp:{text}"),
    BSUIDS.map(lambda text: f"whatsapp:{text}"),
    DIGITS.map(lambda text: f"messenger:{text}"),
)


@pytest.mark.parametrize(
    ("text", "channel", "kind"),
    [
        ("+14155550100", Channel.SMS, AddressKind.PHONE),
        ("+19", Channel.SMS, AddressKind.PHONE),
        ("+123456789012345", Channel.SMS, AddressKind.PHONE),
        ("whatsapp:+14155550100", Channel.WHATSAPP, AddressKind.PHONE),
        ("whatsapp:US.1a2b3C", Channel.WHATSAPP, AddressKind.BSUID),
        ("whatsapp:US." + "a" * 128, Channel.WHATSAPP, AddressKind.BSUID),
        ("whatsapp:US.ENT.1a2b", Channel.WHATSAPP, AddressKind.PARENT_BSUID),
        ("messenger:4711", Channel.MESSENGER, AddressKind.PSID),
    ],
)
def test_every_form_of_a_recipient_is_parsed(
    text: str, channel: Channel, kind: AddressKind
) -> None:
    """Channel and kind follow from the form, and the text stays unchanged."""
    address = parse_address(text)
    assert (address.text, address.channel, address.kind) == (text, channel, kind)
    assert address.is_phone == (kind is AddressKind.PHONE)
    assert text not in repr(address)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "14155550100",
        "+04155550100",
        "+1",
        "+1234567890123456",
        "+1 415 555 0100",
        "+14155550100\n",
        "+١٤١٥٥٥٥٠١٠٠",
        "WhatsApp:+14155550100",
        "whatsapp:14155550100",
        "whatsapp: +14155550100",
        "whatsapp:us.1a2b",
        "whatsapp:US.",
        "whatsapp:US." + "a" * 129,
        "whatsapp:US.EN.1a2b",
        "messenger:",
        "messenger:4711a",
        "messenger:" + "1" * 33,
        "sms:+14155550100",
    ],
)
def test_anything_else_is_refused_without_being_repeated(text: str) -> None:
    """The error for another form names the expected forms and never the text."""
    with pytest.raises(AddressError, match=r"whatsapp:\+<E.164>") as caught:
        parse_address(text)
    assert "4155550100" not in str(caught.value)
    assert "4711" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "channel", "kind"),
    [
        ("whatsapp:+14155550100", Channel.WHATSAPP, AddressKind.PHONE),
        ("messenger:4711", Channel.MESSENGER, AddressKind.PAGE),
        ("+14155550100", Channel.SMS, AddressKind.PHONE),
        ("12345", Channel.SMS, AddressKind.SHORT_CODE),
        ("My Shop", Channel.SMS, AddressKind.ALPHANUMERIC),
    ],
)
def test_every_form_of_a_sender_is_parsed(text: str, channel: Channel, kind: AddressKind) -> None:
    """A sender may also be a Page, a short code or a name."""
    address = parse_sender_address(text)
    assert (address.text, address.channel, address.kind) == (text, channel, kind)


@pytest.mark.parametrize("text", ["whatsapp:US.1a2b3c", "twelve letters", "123456789"])
def test_a_sender_is_no_person(text: str) -> None:
    """A BSUID names a person, so it is no sender; a sender's name has at most 11 characters."""
    with pytest.raises(AddressError, match="page id"):
        parse_sender_address(text)


@given(ADDRESSES)
def test_every_address_parses_and_looks_like_one(text: str) -> None:
    """What parses as an address does not pass as an id or a name, unless it is too short to be a
    number.
    """
    assert parse_address(text).text == text
    assert looks_like_address(text) or len(text) < 8


@pytest.mark.parametrize(
    ("text", "looks"),
    [
        ("415-555-0100", True),
        ("1.415.555.0100", True),
        ("(415) 555 0100", True),
        ("1234567", True),
        ("123456", False),
        ("1" * 20, True),
        ("1" * 21, False),
        ("tel:1", True),
        ("SMS:1", True),
        ("US.abc123", True),
        ("us.abc123", False),
        ("order-4711", False),
        ("order-14155550100", False),
        ("550e8400-e29b-41d4-a716-446655440000", False),
    ],
)
def test_what_looks_like_an_address(text: str, looks: bool) -> None:
    """Prefixes, BSUIDs and runs of 7 to 20 digits look like a person.

    After a word, digits may be an order's.
    """
    assert looks_like_address(text) is looks


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("whatsapp:FI.2782093025460123", True),
        ("whatsapp:US.ENT.1a2b", True),
        ("whatsapp:+14155550123", False),
        ("messenger:1002", False),
        ("+14155550123", False),
        ("FI.2782093025460123", False),
        ("", False),
    ],
)
def test_a_user_id_is_told_from_a_phone(text: str, is_one: bool) -> None:
    """A user id is told from a phone in whatever a callback names as its recipient."""
    assert is_user_id(text) is is_one
