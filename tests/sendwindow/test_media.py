"""What a media URL says about its file, and which errors producers get at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendwindow.codec import decode_job, encode_job
from sendwindow.contract import Freeform, SendMessage, Template
from sendwindow.errors import InvalidMessage
from sendwindow.media import media_kind
from sendwindow.protocol import prepare
from sendwindow.vocabulary import MediaKind, Purpose

WHATSAPP, MESSENGER, SMS = "whatsapp:+14155550123", "messenger:1002", "+14155550123"
BASE = "https://example.com/"


def message(to: str, url: str, body: str | None = "text") -> SendMessage:
    """Return a reply with a media file."""
    return SendMessage(
        to=to, sender="shop", purpose=Purpose.REPLY, freeform=Freeform(body=body, media_url=url)
    )


@pytest.mark.parametrize(
    "name, kind",
    [
        ("a.jpg", MediaKind.IMAGE),
        ("a.JPEG", MediaKind.IMAGE),
        ("a.png?size=big", MediaKind.IMAGE),
        ("a.mp4", MediaKind.VIDEO),
        ("A.MP4", MediaKind.VIDEO),
        ("a.mp4?token=x.png", MediaKind.VIDEO),
        ("a.mp4#a.png", MediaKind.VIDEO),
        ("a.mp4;v=1", MediaKind.VIDEO),
        ("a%2Emp4", MediaKind.VIDEO),
        ("a.b.c.ogg", MediaKind.AUDIO),
        ("bill.Pdf", MediaKind.DOCUMENT),
        ("anna.vcf", MediaKind.CONTACT),
        ("", None),
        ("mp4", None),
        ("a.", None),
        ("folder.mp4/a", None),
        ("download?file=a.mp4", None),
        ("media.php", None),
        ("a.webp", None),
    ],
)
def test_only_the_extension_of_the_last_part_is_certain(name: str, kind: MediaKind | None) -> None:
    """Only the extension of the last part is certain: Twilio uses the type that the server
    returns.
    """
    assert media_kind(BASE + name) is kind


@given(st.text(alphabet=st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=40))
def test_no_url_makes_it_raise(rest: str) -> None:
    """No URL raises, because a queued one may be older than the producer's check."""
    assert media_kind("https://example.com/" + rest) in (None, *MediaKind)


@pytest.mark.parametrize(
    "name", ["a.mp4", "A.MP4", "a.mp4?x=1", "a.mp3", "a.pdf", "a.vcf", "a.docx"]
)
def test_a_text_that_whatsapp_would_drop_is_refused_at_once(name: str) -> None:
    """A text that WhatsApp would drop gets an error with a remedy, without the text or the URL."""
    with pytest.raises(InvalidMessage) as caught:
        prepare(message(WHATSAPP, BASE + name))
    [fault] = caught.value.faults
    assert fault.field == "freeform.body"
    assert "two messages" in fault.remedy
    assert "example.com" not in str(caught.value)


@pytest.mark.parametrize(
    "to, name, body",
    [
        (WHATSAPP, "a.jpg", "text"),
        (WHATSAPP, "A.PNG?x=y.mp4", "text"),
        (WHATSAPP, "a", "text"),
        (WHATSAPP, "get?file=a.mp4", "text"),
        (WHATSAPP, "a.mp4", None),
        (MESSENGER, "a.mp4", "text"),
        (MESSENGER, "a.gif", "text"),
        (SMS, "a.mp4", "text"),
        (SMS, "a.gif", "text"),
    ],
)
def test_what_is_not_certain_is_allowed(to: str, name: str, body: str | None) -> None:
    """A URL without an extension, a file alone, and other channels are allowed, since no loss is
    certain.
    """
    asked = message(to, BASE + name, body)
    assert prepare(asked).message is asked


@pytest.mark.parametrize("name", ["a.gif", "a.HEIC", "a.mov", "a.wav"])
def test_a_type_that_whatsapp_does_not_take_is_refused_at_once(name: str) -> None:
    """A type that WhatsApp does not take gets an error with the valid types.

    Twilio would answer 63019 later.
    """
    with pytest.raises(InvalidMessage) as caught:
        prepare(message(WHATSAPP, BASE + name, None))
    [fault] = caught.value.faults
    assert fault.field == "freeform.media_url"
    assert "63019" in fault.problem


def test_a_template_alone_has_no_file() -> None:
    """A template alone has no check of media."""
    asked = SendMessage(
        to=WHATSAPP, sender="shop", purpose=Purpose.UTILITY, template=Template(name="order")
    )
    assert prepare(asked).message is asked


def test_what_is_queued_already_is_still_read() -> None:
    """A queued job of an older release is read and refused with its reason.

    It is no dead letter.
    """
    queued = message(WHATSAPP, BASE + "a.mp4")
    assert decode_job(encode_job(queued, 0)) == queued
