"""The sandbox rules on a POST as Twilio, WhatsApp and Messenger do."""

from pathlib import Path

import pytest

from tests.support.cast import ANNA, SHOP, TEMPLATE_SID
from tests.support.sandbox_desk import HOUR, PAGE, PSID, desk

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize(
    "ago_ms, flagged",
    [
        (0, False),
        (24 * HOUR - 60_000, False),
        (24 * HOUR, True),
        (24 * HOUR + 1, True),
        (None, True),
    ],
)
async def test_freeform_on_whatsapp_needs_an_open_window(
    tmp_path: Path, ago_ms: int | None, flagged: bool
) -> None:
    """Freeform needs an inbound to this sender in the last 24 hours.

    Otherwise 63016 comes by callback.
    """
    async with desk(tmp_path) as d:
        if ago_ms is not None:
            await d.wrote(ANNA, SHOP, ago_ms)
        status, _ = await d.send(To=ANNA, From=SHOP, ValidityPeriod="60")
        (post,) = d.posts()
    assert status == 201
    assert (post["violation"], post["code"], post["fails"]) == (
        ("outside_window", 63016, "failed") if flagged else (None, None, None)
    )


async def test_a_window_belongs_to_one_sender(tmp_path: Path) -> None:
    """A window belongs to the sender that the person wrote to."""
    async with desk(tmp_path) as d:
        await d.wrote(ANNA, "whatsapp:+14155550199")
        await d.send(To=ANNA, From=SHOP)
        assert d.posts()[0]["violation"] == "outside_window"


async def test_moving_the_clock_closes_the_window(tmp_path: Path) -> None:
    """The clock's offset counts for windows and dates."""
    async with desk(tmp_path) as d:
        await d.wrote(ANNA, SHOP)
        assert (await d.tell("clock", {"offset_ms": 24 * HOUR}))["offset_ms"] == 24 * HOUR
        await d.send(To=ANNA, From=SHOP)
        assert d.posts()[0]["violation"] == "outside_window"


async def test_an_error_may_be_told_at_once_by_setting(tmp_path: Path) -> None:
    """If 63016 is no asynchronous code in the settings, it comes in the answer."""
    async with desk(tmp_path) as d:
        await d.tell("settings", {"async_codes": []})
        status, body = await d.send(To=ANNA, From=SHOP)
        assert (status, body["code"]) == (400, 63016)
        assert d.posts()[0]["sid"] is None


async def test_a_phone_and_its_user_id_are_one_person(tmp_path: Path) -> None:
    """A message from the phone opens the window of its user id.

    A new owner of the phone starts with an empty history.
    """
    async with desk(tmp_path) as d:
        await d.tell(
            "people",
            {"from": ANNA, "to": SHOP, "wrote_ago_ms": 0, "stopped": True, "user_id": "US.abc"},
        )
        await d.send(To="whatsapp:US.abc", From=SHOP)
        await d.tell("people", {"from": ANNA, "to": SHOP, "user_id": "US.new"})
        await d.send(To=ANNA, From=SHOP)
        first, second = d.posts()
    assert first["violation"] == "opted_out"
    assert second["violation"] == "outside_window"


async def test_a_user_id_known_before_its_phone_brings_its_history(tmp_path: Path) -> None:
    """History under either name counts once both are linked, and linking again changes nothing."""
    async with desk(tmp_path) as d:
        await d.wrote("whatsapp:US.abc", SHOP)
        for _ in range(2):
            await d.tell("people", {"from": ANNA, "to": SHOP, "user_id": "US.abc"})
        await d.send(To=ANNA, From=SHOP)
        assert d.posts()[0]["violation"] is None


@pytest.mark.parametrize(
    "variables, code, flag",
    [
        ('{"1":"Ann","2":"09:00"}', None, None),
        ('{"1":"Ann"}', None, "missing_variables"),
        ('{"1":"Ann","2":"x","3":"y"}', None, "undeclared_variables"),
        ('{"1":"Ann","2":""}', 21656, "bad_variables"),
        ('{"1":"Ann","2":null}', 21656, "bad_variables"),
        ("[1]", 21656, "bad_variables"),
        ("{", 21656, "bad_variables"),
        ('{"1":"Ann","2":"a\\nb"}', 63013, "bad_variables"),
        ('{"1":"Ann","2":"a     b"}', 63013, "bad_variables"),
        ('{"1":"Ann","2":"' + "x" * 1020 + '"}', 63021, "template_too_long"),
    ],
)
async def test_template_variables_are_checked(
    tmp_path: Path, variables: str, code: int | None, flag: str | None
) -> None:
    """Template variables: all declared, none empty, no newline or run of spaces, at most 1,024
    characters rendered.
    """
    async with desk(tmp_path) as d:
        await d.post(
            {"To": ANNA, "From": SHOP, "ContentSid": TEMPLATE_SID, "ContentVariables": variables}
        )
        (post,) = d.posts()
    assert (post["code"], post["violation"], post["form"]) == (code, flag, "template")


async def test_the_list_shows_a_template_as_the_person_reads_it() -> None:
    """The list shows a template's rendered text, which evidence compares."""
    async with desk() as d:
        _, body = await d.post(
            {
                "To": ANNA,
                "From": SHOP,
                "ContentSid": TEMPLATE_SID,
                "ContentVariables": '{"1":"Ann","2":"9"}',
            }
        )
    assert body["body"] == "Hi Ann: 9"


async def test_an_unknown_template_is_refused(tmp_path: Path) -> None:
    """21655: unknown, deleted, or another account's."""
    async with desk(tmp_path) as d:
        status, body = await d.post({"To": ANNA, "From": SHOP, "ContentSid": "HX" + "b" * 32})
        assert (status, body["code"], d.posts()[0]["violation"]) == (400, 21655, "unknown_template")


@pytest.mark.parametrize(
    "approval, code",
    [("paused", 63041), ("rejected", 63040), ("disabled", 63042), ("pending", 63016)],
)
async def test_an_approval_lost_while_running_is_news_not_a_violation(
    tmp_path: Path, approval: str, code: int
) -> None:
    """An approval lost at run time is no violation, because the sender learns of it by the
    error.
    """
    async with desk(tmp_path) as d:
        await d.tell("templates", {"sid": TEMPLATE_SID, "approved": approval})
        await d.post(
            {
                "To": ANNA,
                "From": SHOP,
                "ContentSid": TEMPLATE_SID,
                "ContentVariables": '{"1":"A","2":"B"}',
            }
        )
        (post,) = d.posts()
        assert (post["code"], post["violation"]) == (code, None)
        d.state.changed_templates = frozenset()
        await d.post(
            {
                "To": ANNA,
                "From": SHOP,
                "ContentSid": TEMPLATE_SID,
                "ContentVariables": '{"1":"A","2":"B"}',
            }
        )
        assert d.posts()[1]["violation"] == "template_not_approved"


async def test_a_template_with_media_is_refused() -> None:
    """A template with media on WhatsApp gets 63030."""
    async with desk() as d:
        form = {
            "To": ANNA,
            "From": SHOP,
            "ContentSid": TEMPLATE_SID,
            "ContentVariables": '{"1":"A","2":"B"}',
        }
        assert (await d.post(form | {"MediaUrl": "https://e.com/x.png"}))[1]["code"] == 63030


async def test_more_than_one_media_on_whatsapp_is_flagged(tmp_path: Path) -> None:
    """More than one medium on WhatsApp is flagged, because WhatsApp sends only the first."""
    async with desk(tmp_path) as d:
        await d.wrote(ANNA, SHOP)
        form = [
            ("To", ANNA),
            ("From", SHOP),
            ("MediaUrl", "https://e.com/1"),
            ("MediaUrl", "https://e.com/2"),
        ]
        _, body = await d.post(form)
        assert (body["sid"][:2], body["num_media"]) == ("MM", "2")
        assert d.posts()[0]["violation"] == "extra_media"


async def test_messenger_outside_the_window_is_tagged_while_the_tag_lives(tmp_path: Path) -> None:
    """Outside the window Messenger adds ACCOUNT_UPDATE while the tag works; inside it adds none."""
    async with desk(tmp_path) as d:
        await d.wrote(PSID, PAGE, 24 * HOUR)
        await d.send(To=PSID, From=PAGE)
        await d.wrote(PSID, PAGE)
        await d.send(To=PSID, From=PAGE)
        shown = (await d.tell("messages", {}, "GET"))["messages"]
    assert [each["tag"] for each in shown] == [None, "ACCOUNT_UPDATE"]
    assert [(post["form"], post["violation"]) for post in d.posts()] == [
        ("tag", None),
        ("freeform", None),
    ]


async def test_a_dead_tag_costs_one_message_a_page(tmp_path: Path) -> None:
    """Once Twilio reported a dead tag, another POST on that Page is a violation.

    On another Page it is not.
    """
    async with desk(tmp_path) as d:
        await d.tell("settings", {"account_update": "dead", "async_codes": []})
        for page in (PAGE, PAGE, "messenger:556"):
            await d.wrote(PSID, page, 24 * HOUR)
            assert (await d.send(To=PSID, From=page))[1]["code"] == 63016
        assert [post["violation"] for post in d.posts()] == [None, "tag_known_dead", None]


async def test_the_opted_out_get_21610(tmp_path: Path) -> None:
    """The provider blocks a sender for an opted-out person with 21610, until a START."""
    async with desk(tmp_path) as d:
        await d.tell("people", {"from": "+14155550123", "to": "+14155550100", "stopped": True})
        status, body = await d.send()
        assert (status, body["code"], d.posts()[0]["violation"]) == (400, 21610, "opted_out")
        await d.tell("people", {"from": "+14155550123", "to": "+14155550100", "stopped": False})
        assert (await d.send())[0] == 201


async def test_persons_are_labels_in_the_journal(tmp_path: Path) -> None:
    """The journal holds no address, and a person has the same label in every line."""
    async with desk(tmp_path) as d:
        await d.send()
        await d.send()
        text = (tmp_path / "sandbox.jsonl").read_text()
        first, second = d.posts()
    assert "+14155550123" not in text
    assert first["person"] == second["person"]
