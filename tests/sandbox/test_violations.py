"""What the sandbox flags: requests that a careful sender does not make, accepted or not."""

from pathlib import Path
from typing import Any

import pytest

from sandbox.config import SandboxTemplate
from tests.support.cast import GRETA, SHOP, TEMPLATE_SID
from tests.support.sandbox_desk import HOUR, PAGE, PSID, Desk, desk
from tests.support.sandbox_scene import lines, scene

pytestmark = pytest.mark.asyncio

GERMAN, AMERICAN, CANADIAN = (
    GRETA,
    "whatsapp:+14155550176",
    "whatsapp:+14165550178",
)
USER_ID, US_USER_ID = "whatsapp:DE.1a2b3c", "whatsapp:US.1a2b3c"


def know(desk: Desk, **facts: Any) -> None:
    """Add facts about its template to the sandbox."""
    desk.state.templates[TEMPLATE_SID] = SandboxTemplate(name="order", **facts)


def flags(desk: Desk) -> list[str | None]:
    """Return the flags of each POST."""
    return [post["violation"] for post in desk.posts()]


@pytest.mark.parametrize(
    ("ago_ms", "validity", "flag"),
    [
        (20 * HOUR, "14400", None),
        (20 * HOUR, "14410", "validity_beyond_window"),
        (14 * HOUR, None, None),
        (15 * HOUR, None, "validity_beyond_window"),
    ],
)
async def test_freeform_may_not_wait_in_the_queue_beyond_the_window(
    tmp_path: Path, ago_ms: int, validity: str | None, flag: str | None
) -> None:
    """Freeform may wait until 24 h after the inbound, with 5 s for the clocks.

    Without a ValidityPeriod Twilio keeps it for ten hours.
    """
    async with desk(tmp_path) as d:
        await d.wrote(GERMAN, SHOP, ago_ms)
        await d.send(To=GERMAN, From=SHOP, **({"ValidityPeriod": validity} if validity else {}))
        assert flags(d) == [flag]


async def test_a_whatsapp_template_may_wait_longer_than_the_window(tmp_path: Path) -> None:
    """A WhatsApp template may wait longer than the window, because it may go at any time."""
    async with desk(tmp_path) as d:
        know(d)
        await d.wrote(GERMAN, SHOP, 20 * HOUR)
        await d.send(To=GERMAN, From=SHOP, ContentSid=TEMPLATE_SID)
        assert flags(d) == [None]


@pytest.mark.parametrize(
    ("to", "flag"),
    [
        (AMERICAN, "us_marketing"),
        (US_USER_ID, "us_marketing"),
        (CANADIAN, None),
        (GERMAN, None),
        (USER_ID, None),
    ],
)
async def test_marketing_to_the_united_states_is_flagged_and_fails(
    tmp_path: Path, to: str, flag: str | None
) -> None:
    """Marketing to the United States is flagged and fails with 63049.

    The rest of +1 is not affected.
    """
    async with desk(tmp_path) as d:
        know(d, category="MARKETING")
        await d.send(To=to, From=SHOP, ContentSid=TEMPLATE_SID)
        (post,) = d.posts()
    assert (post["violation"], post["code"], post["category"]) == (
        flag,
        63049 if flag else None,
        "MARKETING",
    )


@pytest.mark.parametrize(
    ("category", "flag"), [("AUTHENTICATION", "needs_phone"), ("UTILITY", None)]
)
async def test_no_authentication_template_goes_to_a_user_id(
    tmp_path: Path, category: str, flag: str | None
) -> None:
    """An authentication template to a user id is flagged, because its button needs a phone."""
    async with desk(tmp_path) as d:
        know(d, category=category)
        await d.send(To=USER_ID, From=SHOP, ContentSid=TEMPLATE_SID)
        assert flags(d) == [flag]


@pytest.mark.parametrize(
    ("url", "flag"),
    [
        ("https://example.com/a.MP4?x=1", "body_lost_with_media"),
        ("https://example.com/a.pdf", "body_lost_with_media"),
        ("https://example.com/a.jpg", None),
        ("https://example.com/a", None),
    ],
)
async def test_a_text_with_a_file_that_is_no_picture_is_lost(
    tmp_path: Path, url: str, flag: str | None
) -> None:
    """A text next to a file that is no picture is lost: the person gets the file, and the list
    shows no text.
    """
    async with desk(tmp_path) as d:
        await d.wrote(GERMAN, SHOP)
        await d.send(To=GERMAN, From=SHOP, Body="text", MediaUrl=url)
        assert flags(d) == [flag]
        [held] = d.state.messages.newest_first(to=GERMAN)
        assert held.body == ("" if flag else "text")


@pytest.mark.parametrize(
    ("code", "category", "words", "held"),
    [
        (63014, "UTILITY", None, "all"),
        (63033, "MARKETING", None, "marketing"),
        (63049, "MARKETING", None, "marketing"),
        (63033, "UTILITY", "(#131050) the user stopped marketing", "marketing"),
        (63033, "UTILITY", "1310501", "all"),
        (30007, "UTILITY", None, None),
    ],
)
@pytest.mark.parametrize("writes", [False, True])
async def test_what_an_error_told_is_remembered_until_it_ends(
    tmp_path: Path, code: int, category: str, words: str | None, held: str | None, writes: bool
) -> None:
    """A block ends when the person writes, a cap ends after a day, and a marketing stop outlives
    both.
    """
    async with scene(tmp_path) as s:
        s.state.templates[TEMPLATE_SID] = SandboxTemplate(name="order", category=category)  # type: ignore[arg-type]  # a table
        await s.fault("fail", code=code, times=1, **({"channel_status": words} if words else {}))
        await s.send(To=GERMAN, From=SHOP, ContentSid=TEMPLATE_SID)
        await s.drained()
        s.state.outbox.offset_ms = 6_000
        if writes:
            s.state.people.at(GERMAN).speak(GERMAN, s.state.config.accounts[0].sid)
        await s.send(To=GERMAN, From=SHOP, ContentSid=TEMPLATE_SID)
        s.state.outbox.offset_ms = 24 * HOUR + 7_000
        await s.send(To=GERMAN, From=SHOP, ContentSid=TEMPLATE_SID)
        await s.drained()
    ends_by_word = code in (63014, 63033) and not (words and "(#131050)" in words)
    after = None if writes and ends_by_word else held
    assert [line["held"] for line in lines(tmp_path, "post")] == [
        None,
        after,
        None if code == 63049 else after,
    ]


async def test_who_writes_proves_the_address(tmp_path: Path) -> None:
    """An inbound ends what an error said of the address.

    A later error of a message from before it has no effect.
    """
    async with desk(tmp_path) as d:
        await d.fault("reject", code=63024, times=1)
        await d.send(To=GERMAN, From=SHOP, Body="text")
        person = d.state.people.at(GERMAN)
        assert GERMAN in person.unusable
        person.speak(GERMAN, d.state.config.accounts[0].sid)
        assert person.unusable == {}
        await d.fault("reject", code=21211, times=1)
        await d.send(To=USER_ID, From=SHOP, Body="text")
        assert d.state.people.at(USER_ID).unusable == {}


@pytest.mark.parametrize(("to", "flag"), [(USER_ID, "needs_phone"), (GERMAN, None)])
async def test_a_template_that_needs_a_phone_is_flagged_for_a_user_id(
    tmp_path: Path, to: str, flag: str | None
) -> None:
    """One-tap, zero-tap and copy-code authentication templates are flagged for a user id."""
    async with desk(tmp_path) as d:
        know(d, category="AUTHENTICATION", needs_phone=True)
        await d.send(To=to, From=SHOP, ContentSid=TEMPLATE_SID)
        assert flags(d) == [flag]


async def test_a_page_risks_one_tagged_message_until_word_of_it_came(tmp_path: Path) -> None:
    """A second tagged message of a Page is flagged until the first is reported as sent.

    The same message again is not.
    """
    async with desk(tmp_path) as d:
        for person in (PSID, "messenger:779"):
            await d.wrote(person, PAGE, 25 * HOUR)
        await d.fault("callback_lost", times=2)
        named = "http://127.0.0.1:9/status?m={}&a=1#rc=0".format
        for person, name in ((PSID, "m1"), (PSID, "m1"), ("messenger:779", "m2")):
            await d.send(To=person, From=PAGE, StatusCallback=named(name))
        assert flags(d) == [None, None, "second_unproven_tag"]
        await d.state.callbacks.drained()
        await d.send(To=PSID, From=PAGE, StatusCallback=named("m3"))
        assert flags(d)[-1] is None


async def test_a_list_tells_of_a_tagged_message_too(tmp_path: Path) -> None:
    """If the callback was lost, a list request reports that the tagged message was sent."""
    async with desk(tmp_path) as d:
        await d.wrote(PSID, PAGE, 25 * HOUR)
        await d.fault("callback_lost", times=1)
        await d.send(To=PSID, From=PAGE)
        await d.state.callbacks.drained()
        await d.get(From=PAGE)
        await d.send(To=PSID, From=PAGE)
        assert flags(d) == [None, None]


async def test_who_never_wrote_to_a_page_gets_nothing_from_it(tmp_path: Path) -> None:
    """A person who never wrote to a Page gets nothing from it, even after writing to another
    Page.
    """
    async with desk(tmp_path) as d:
        await d.wrote(PSID, "messenger:556")
        await d.send(To=PSID, From=PAGE)
        assert flags(d) == ["never_wrote"]


async def test_an_address_called_unusable_is_not_to_be_tried_again(tmp_path: Path) -> None:
    """An unusable address is not tried again, except for messages within five seconds."""
    async with desk(tmp_path) as d:
        await d.fault("reject", code=21614, times=1)
        await d.send()
        await d.send()
        d.state.outbox.offset_ms = 6_000
        await d.send()
        await d.send(To="+14155550112")
        assert flags(d) == [None, None, "told_unusable", None]


async def test_a_callback_may_call_an_address_unusable_too(tmp_path: Path) -> None:
    """An unusable address reported by callback counts once the gateway answered with 2xx."""
    async with scene(tmp_path) as s:
        await s.fault("fail", code=63024, times=1)
        await s.send()
        await s.drained()
        s.state.outbox.offset_ms = 6_000
        await s.send()
        await s.drained()
    assert [line["violation"] for line in lines(tmp_path, "post")] == [None, "told_unusable"]


async def test_a_post_says_whether_it_goes_to_a_user_id(tmp_path: Path) -> None:
    """A POST's line shows whether it goes to a user id, for which some errors mean another
    thing.
    """
    async with desk(tmp_path) as d:
        for to in ("whatsapp:GB.8f3a2c7d1e", "whatsapp:+14155550111", "+14155550111"):
            await d.send(To=to)
        assert [post["user_id"] for post in d.posts()] == [True, False, False]


async def test_a_post_says_whether_the_window_is_open_on_every_channel(tmp_path: Path) -> None:
    """A POST's line shows whether the window is open, on SMS too, where a reply relies on it."""
    async with desk(tmp_path) as d:
        await d.send()
        await d.wrote("+14155550123", "+14155550100")
        await d.send()
        assert [post["window"] for post in d.posts()] == [False, True]
