"""The sandbox reads the parameters of a POST as Twilio does."""

from pathlib import Path

import pytest

from tests.support.cast import ANNA, SHOP
from tests.support.sandbox_desk import SMS, Form, desk

pytestmark = pytest.mark.asyncio


def without(name: str) -> dict[str, str]:
    return {key: value for key, value in SMS.items() if key != name}


@pytest.mark.parametrize(
    "form, code",
    [
        (without("To"), 21604),
        (without("From"), 21603),
        (without("Body"), 21602),
        (SMS | {"Body": ""}, 21602),
        (SMS | {"To": "14155550123"}, 21211),
        (SMS | {"To": "whatsapp:14155550123"}, 21211),
        (SMS | {"To": "whatsapp:us.abc"}, 21211),
        (SMS | {"To": "messenger:abc"}, 21211),
        (SMS | {"From": "+0123"}, 21212),
        (SMS | {"From": "a name that is far too long"}, 21657),
        (SMS | {"From": "+14155550123"}, 63031),
        (SMS | {"MessagingServiceSid": "MG1"}, 21705),
        (SMS | {"Body": "x" * 1601}, 21617),
        (SMS | {"Body": "\N{GRINNING FACE}" * 801}, 21617),
        (SMS | {"MediaUrl": "no url"}, 21620),
        ([*SMS.items(), *[("MediaUrl", "https://e.com/x")] * 11], 21623),
        (SMS | {"ContentVariables": "{}"}, 21654),
        (SMS | {"ContentSid": "HXshort"}, 21655),
        (SMS | {"StatusCallback": "nowhere"}, 21609),
        (SMS | {"StatusCallback": "https://a_b.example.com/x"}, 21609),
        (SMS | {"StatusCallback": "https://example.com:port/x"}, 21609),
        (SMS | {"StatusCallback": "https://example.com/" + "x" * 4100}, 21658),
        (SMS | {"ValidityPeriod": "0"}, 21624),
        (SMS | {"ValidityPeriod": "36001"}, 21624),
        (SMS | {"ScheduleType": "fixed"}, 35111),
        (SMS | {"ScheduleType": "fixed", "SendAt": "2026-12-01T00:00:00Z"}, 35118),
        (SMS | {"ContentRetention": "forever"}, 20422),
    ],
)
async def test_a_malformed_request_gets_its_code(tmp_path: Path, form: Form, code: int) -> None:
    """Each rule of the parameter table is refused in the answer and flagged in the journal."""
    async with desk(tmp_path) as d:
        status, body = await d.post(form)
        assert (status, body["code"]) == (400, code)
        (post,) = d.posts()
    assert (post["sid"], post["http"], post["code"]) == (None, 400, code)
    assert "malformed" in post["violation"]


@pytest.mark.parametrize(
    "form",
    [
        SMS | {"Body": "x" * 1600},
        SMS | {"Body": "\N{GRINNING FACE}" * 800},
        SMS | {"From": "24911"},
        SMS | {"From": "Sendwindow"},
        SMS | {"ValidityPeriod": "36000"},
        SMS | {"StatusCallback": "http://[::1]:80/x?a=1"},
    ],
)
async def test_the_last_good_value_is_taken(form: Form) -> None:
    """The last valid value of each parameter is accepted."""
    async with desk() as d:
        assert (await d.post(form))[0] == 201


@pytest.mark.parametrize(
    "form, flag",
    [
        (SMS | {"Tags": "{}"}, "unknown_parameter"),
        ([*SMS.items(), ("Body", "y")], "repeated_parameter"),
        (SMS | {"ValidityPeriod": ""}, "empty_parameter"),
    ],
)
async def test_what_twilio_would_swallow_is_flagged(tmp_path: Path, form: Form, flag: str) -> None:
    """A request that Twilio accepts but a careful sender never sends is accepted and flagged."""
    async with desk(tmp_path) as d:
        assert (await d.post(form))[0] == 201
        assert d.posts()[0]["violation"] == flag


@pytest.mark.parametrize(
    "form, code",
    [
        (SMS | {"From": "+14155550199"}, 21606),
        ({"To": ANNA, "From": "whatsapp:+14155550199", "Body": "x"}, 63007),
        ({"To": ANNA, "From": "+14155550100", "Body": "x"}, 63008),
        (without("From") | {"MessagingServiceSid": "MG" + "b" * 32}, 21701),
        (SMS | {"From": "+14155550102", "MessagingServiceSid": "MG" + "a" * 32}, 21712),
        (SMS | {"To": "+14155550122"}, 21608),
    ],
)
async def test_senders_must_belong_to_the_account(form: Form, code: int) -> None:
    """Refused: unknown senders, mixed channels, other services, unverified recipients of trial
    accounts.
    """
    async with desk(
        senders=frozenset({"+14155550100", "+14155550102", SHOP}),
        services={"MG" + "a" * 32: ("+14155550100",)},
        verified=frozenset({"+14155550123", ANNA}),
    ) as d:
        status, body = await d.post(form)
    assert (status // 100, body["code"]) == (4, code)


async def test_a_messaging_service_picks_the_sender_of_the_channel() -> None:
    """A messaging service answers `accepted` without a sender, and the list shows the sender."""
    service = "MG" + "a" * 32
    async with desk(services={service: (SHOP, "+14155550100")}) as d:
        _, body = await d.post(without("From") | {"MessagingServiceSid": service})
        assert (body["status"], body["from"], body["messaging_service_sid"]) == (
            "accepted",
            "+14155550100",
            service,
        )
        _, listed = await d.get(From="+14155550100")
        assert [each["sid"] for each in listed["messages"]] == [body["sid"]]
