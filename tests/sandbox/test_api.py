"""The fake Messages API over real sockets: formats, parameter checks, the providers' rules, lists,
faults.
"""

import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sandbox.app import running
from sandbox.config import SandboxAccount, SandboxConfig, SandboxTemplate
from sandbox.control import ROUTES
from sandbox.faults import Action, FaultRule, Match
from sandbox.state import Sandbox
from tests.support.cast import ACCOUNT_SID, ANNA, SHOP, TEMPLATE_SID

pytestmark = pytest.mark.asyncio

PAGE, PSID = "messenger:555", "messenger:777"
HOUR = 3_600_000

Form = dict[str, str] | list[tuple[str, str]]


class Desk:
    """Sends requests to a sandbox as a sender does."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, state: Sandbox, journal: Path | None
    ) -> None:
        self.session, self.url, self.state, self.journal = session, url, state, journal
        self.auth = basic(ACCOUNT_SID, "secret")

    @property
    def messages(self) -> str:
        return f"{self.url}/2010-04-01/Accounts/{ACCOUNT_SID}/Messages"

    async def post(self, form: Form, **headers: str) -> tuple[int, dict[str, Any]]:
        async with self.session.post(
            f"{self.messages}.json", data=form, headers=self.auth | headers
        ) as answer:
            return answer.status, await answer.json()

    async def send(self, **more: str) -> tuple[int, dict[str, Any]]:
        """Send an SMS unless `more` says otherwise."""
        return await self.post(
            {"To": "+14155550123", "From": "+14155550100", "Body": "hello"} | more
        )

    async def get(self, path: str = ".json", **query: str | int) -> tuple[int, dict[str, Any]]:
        async with self.session.get(
            f"{self.messages}{path}", params=query, headers=self.auth
        ) as answer:
            return answer.status, await answer.json()

    async def tell(
        self, what: str, body: Mapping[str, object], method: str = "POST"
    ) -> dict[str, Any]:
        async with self.session.request(method, f"{self.url}/sandbox/{what}", json=body) as answer:
            assert answer.status == 200, await answer.text()
            told: dict[str, Any] = await answer.json()
            return told

    async def wrote(self, person: str, sender: str, ago_ms: int = 60_000) -> None:
        await self.tell("people", {"from": person, "to": sender, "wrote_ago_ms": ago_ms})

    async def fault(self, action: str, **more: Any) -> None:
        await self.tell("faults", {"rules": [{"action": action, **more}]})

    def posts(self) -> list[dict[str, Any]]:
        assert self.journal is not None
        lines = [json.loads(line) for line in self.journal.read_text().splitlines()]
        return [line for line in lines if line["e"] == "post"]


def basic(user: str, password: str) -> dict[str, str]:
    """Return the header with a sender's credentials."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@asynccontextmanager
async def desk(tmp_path: Path | None = None, **account: Any) -> AsyncIterator[Desk]:
    """Run a sandbox with one account and one template, and yield a desk to it."""
    journal = tmp_path / "sandbox.jsonl" if tmp_path else None
    config = SandboxConfig(
        accounts=(
            SandboxAccount(sid=ACCOUNT_SID, token="secret", keys={"SK1": "key-secret"}, **account),
        ),
        templates={
            TEMPLATE_SID: SandboxTemplate(
                name="order", variables=frozenset({"1", "2"}), body="Hi {{1}}: {{2}}"
            )
        },
        journal=journal,
    )
    async with running(config) as (url, state), aiohttp.ClientSession() as session:
        yield Desk(session, url, state, journal)


# -- formats and credentials -----------------------------------------------------------------------


async def test_an_accepted_message_looks_like_twilios() -> None:
    """An accepted message gives 201 with the fields of the Message resource.

    Numbers are strings, dates RFC 2822, and `date_sent` is null at first.
    """
    async with desk() as d:
        status, body = await d.send()
    assert status == 201
    assert body["sid"].startswith("SM")
    assert len(body["sid"]) == 34
    assert (body["status"], body["direction"], body["num_segments"], body["num_media"]) == (
        "queued",
        "outbound-api",
        "1",
        "0",
    )
    assert body["date_sent"] is None
    assert body["date_created"].endswith("+0000")
    assert (body["error_code"], body["price"], body["api_version"]) == (None, None, "2010-04-01")
    assert body["uri"] == f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages/{body['sid']}.json"


async def test_an_error_looks_like_twilios() -> None:
    """An error has code, message, more_info and status."""
    async with desk() as d:
        status, body = await d.post({"From": "+14155550100", "Body": "x"})
    assert status == 400
    assert body == {
        "code": 21604,
        "message": "A 'To' address is required.",
        "more_info": "https://www.twilio.com/docs/errors/21604",
        "status": 400,
    }


@pytest.mark.parametrize(
    "headers, path, expected",
    [
        ({}, ACCOUNT_SID, (401, 20003)),
        (basic(ACCOUNT_SID, "wrong"), ACCOUNT_SID, (401, 20003)),
        ({"Authorization": "Bearer x"}, ACCOUNT_SID, (401, 20003)),
        ({"Authorization": "Basic %%%"}, ACCOUNT_SID, (401, 20003)),
        (basic("", ""), ACCOUNT_SID, (401, 20003)),
        (basic(ACCOUNT_SID, "secret"), "AC" + "2" * 32, (404, 20404)),
        (basic("SK1", "key-secret"), ACCOUNT_SID, (400, 21604)),
        (basic("SK1", "secret"), ACCOUNT_SID, (401, 20003)),
    ],
)
async def test_credentials_are_checked(
    headers: dict[str, str], path: str, expected: tuple[int, int]
) -> None:
    """Credentials are the Account SID with its token, or an API key.

    The path has the Account SID.
    """
    async with desk() as d:
        url = f"{d.url}/2010-04-01/Accounts/{path}/Messages.json"
        async with d.session.post(url, data={}, headers=headers) as answer:
            assert (answer.status, (await answer.json())["code"]) == expected


async def test_other_resources_are_not_found() -> None:
    """404 with 20404, as JSON."""
    async with desk() as d:
        async with d.session.get(
            f"{d.url}/2010-04-01/Accounts/{ACCOUNT_SID}/Calls.json", headers=d.auth
        ) as answer:
            assert (answer.status, (await answer.json())["code"]) == (404, 20404)
        assert (await d.get("/SM" + "0" * 32 + ".json"))[1]["code"] == 20404


async def test_a_body_that_is_no_text_is_refused_and_written_down(tmp_path: Path) -> None:
    """Every POST leaves a journal line, even if its body is unreadable."""
    async with desk(tmp_path) as d:
        async with d.session.post(f"{d.messages}.json", data=b"\xff\xfe", headers=d.auth) as answer:
            assert (answer.status, (await answer.json())["code"]) == (400, 20422)
        assert d.posts()[0]["code"] == 20422


# -- parameters ------------------------------------------------------------------------------------

_SMS = {"To": "+14155550123", "From": "+14155550100", "Body": "x"}


def without(name: str) -> dict[str, str]:
    return {key: value for key, value in _SMS.items() if key != name}


@pytest.mark.parametrize(
    "form, code",
    [
        (without("To"), 21604),
        (without("From"), 21603),
        (without("Body"), 21602),
        (_SMS | {"Body": ""}, 21602),
        (_SMS | {"To": "14155550123"}, 21211),
        (_SMS | {"To": "whatsapp:14155550123"}, 21211),
        (_SMS | {"To": "whatsapp:us.abc"}, 21211),
        (_SMS | {"To": "messenger:abc"}, 21211),
        (_SMS | {"From": "+0123"}, 21212),
        (_SMS | {"From": "a name that is far too long"}, 21657),
        (_SMS | {"From": "+14155550123"}, 63031),
        (_SMS | {"MessagingServiceSid": "MG1"}, 21705),
        (_SMS | {"Body": "x" * 1601}, 21617),
        (_SMS | {"Body": "\N{GRINNING FACE}" * 801}, 21617),
        (_SMS | {"MediaUrl": "no url"}, 21620),
        ([*_SMS.items(), *[("MediaUrl", "https://e.com/x")] * 11], 21623),
        (_SMS | {"ContentVariables": "{}"}, 21654),
        (_SMS | {"ContentSid": "HXshort"}, 21655),
        (_SMS | {"StatusCallback": "nowhere"}, 21609),
        (_SMS | {"StatusCallback": "https://a_b.example.com/x"}, 21609),
        (_SMS | {"StatusCallback": "https://example.com:port/x"}, 21609),
        (_SMS | {"StatusCallback": "https://example.com/" + "x" * 4100}, 21658),
        (_SMS | {"ValidityPeriod": "0"}, 21624),
        (_SMS | {"ValidityPeriod": "36001"}, 21624),
        (_SMS | {"ScheduleType": "fixed"}, 35111),
        (_SMS | {"ScheduleType": "fixed", "SendAt": "2026-12-01T00:00:00Z"}, 35118),
        (_SMS | {"ContentRetention": "forever"}, 20422),
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
        _SMS | {"Body": "x" * 1600},
        _SMS | {"Body": "\N{GRINNING FACE}" * 800},
        _SMS | {"From": "24911"},
        _SMS | {"From": "Sendwindow"},
        _SMS | {"ValidityPeriod": "36000"},
        _SMS | {"StatusCallback": "http://[::1]:80/x?a=1"},
    ],
)
async def test_the_last_good_value_is_taken(form: Form) -> None:
    """The last valid value of each parameter is accepted."""
    async with desk() as d:
        assert (await d.post(form))[0] == 201


@pytest.mark.parametrize(
    "form, flag",
    [
        (_SMS | {"Tags": "{}"}, "unknown_parameter"),
        ([*_SMS.items(), ("Body", "y")], "repeated_parameter"),
        (_SMS | {"ValidityPeriod": ""}, "empty_parameter"),
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
        (_SMS | {"From": "+14155550199"}, 21606),
        ({"To": ANNA, "From": "whatsapp:+14155550199", "Body": "x"}, 63007),
        ({"To": ANNA, "From": "+14155550100", "Body": "x"}, 63008),
        (without("From") | {"MessagingServiceSid": "MG" + "b" * 32}, 21701),
        (_SMS | {"From": "+14155550102", "MessagingServiceSid": "MG" + "a" * 32}, 21712),
        (_SMS | {"To": "+14155550122"}, 21608),
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


# -- the providers' rules --------------------------------------------------------------------------


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


# -- lists -----------------------------------------------------------------------------------------


async def test_lists_are_newest_first_and_filtered_by_both_sides() -> None:
    """Lists are newest first and filtered by To, by From, by both or by none."""
    async with desk() as d:
        sids = [
            (await d.send(To=f"+1415555011{n % 2}", From=f"+1415555010{n % 3}"))[1]["sid"]
            for n in range(6)
        ]
        for query, expected in (
            ({}, sids[::-1]),
            ({"To": "+14155550111"}, [sids[5], sids[3], sids[1]]),
            ({"From": "+14155550100"}, [sids[3], sids[0]]),
            ({"To": "+14155550111", "From": "+14155550100"}, [sids[3]]),
            ({"To": "+14155550199"}, []),
            ({"From": "+14155550199"}, []),
        ):
            _, listed = await d.get(**query)
            assert [each["sid"] for each in listed["messages"]] == expected


async def test_pages_follow_next_page_uri_without_gaps_while_messages_arrive() -> None:
    """Pages follow without gaps while messages arrive, because the token names the last message."""
    async with desk() as d:
        sids = [(await d.send())[1]["sid"] for _ in range(5)]
        _, page = await d.get(PageSize=2, To="+14155550123")
        seen = [each["sid"] for each in page["messages"]]
        while page["next_page_uri"]:
            await d.send()
            async with d.session.get(d.url + page["next_page_uri"], headers=d.auth) as answer:
                page = await answer.json()
            seen += [each["sid"] for each in page["messages"]]
        assert seen == sids[::-1]
        assert (page["page"], page["page_size"], page["start"]) == (2, 2, 4)
        assert (await d.get(PageToken="PAnone"))[1]["code"] == 20404
        assert (await d.get(PageSize="many"))[1]["code"] == 20422
        assert len((await d.get(PageSize=2, Page=1))[1]["messages"]) == 2


async def test_date_sent_selects_only_what_was_sent() -> None:
    """`date_sent` is null until sent; a bare date is that whole day in GMT."""
    async with desk() as d:
        await d.send(StatusCallback="http://127.0.0.1:1/x")
        assert (await d.get(**{"DateSent>": "2020-01-01"}))[1]["messages"] == []
        await d.tell("idle", {}, "GET")
        assert len((await d.get(**{"DateSent>": "2020-01-01"}))[1]["messages"]) == 1
        assert (await d.get(**{"DateSent<": "2020-01-01"}))[1]["messages"] == []
        assert (await d.get(DateSent="2020-01-01T10:00:00Z"))[1]["messages"] == []
        assert (await d.get(DateSent="yesterday"))[1]["code"] == 20422


async def test_a_lagging_list_shows_a_message_later_a_fetch_at_once() -> None:
    """A lagging list shows a message later, and a fetch shows it at once."""
    async with desk() as d:
        await d.fault("list_lag", delay_ms=60_000)
        sid = (await d.send())[1]["sid"]
        assert (await d.get())[1]["messages"] == []
        assert (await d.get(f"/{sid}.json"))[0] == 200
        await d.tell("clock", {"offset_ms": 60_000})
        assert len((await d.get())[1]["messages"]) == 1


async def test_a_user_id_may_show_under_its_phone() -> None:
    """A user id may show under its known phone.

    Without one, or with the phone's next owner, it shows as given.
    """
    async with desk() as d:
        await d.tell("settings", {"shows_phones": True})
        await d.tell("people", {"from": ANNA, "to": SHOP, "wrote_ago_ms": 0, "user_id": "US.abc"})
        for to in ("whatsapp:US.abc", "whatsapp:US.other"):
            await d.send(To=to, From=SHOP)
        await d.tell("people", {"from": ANNA, "to": SHOP, "user_id": "US.new"})
        for to in ("whatsapp:US.abc", "whatsapp:US.new"):
            await d.send(To=to, From=SHOP)
        _, listed = await d.get(From=SHOP)
    assert [each["to"] for each in listed["messages"]] == [
        ANNA,
        "whatsapp:US.abc",
        "whatsapp:US.other",
        ANNA,
    ]


SPELLED = ("whatsapp:+5511995550123", "whatsapp:+551195550123")


async def test_a_person_writes_and_is_reached_under_any_spelling() -> None:
    """A window that one spelling opened is open for the other, and a STOP counts for both."""
    async with desk() as d:
        await d.tell("people", {"from": SPELLED[0], "to": SHOP, "wrote_ago_ms": 0})
        assert (await d.send(To=SPELLED[1], From=SHOP))[0] == 201
        await d.tell("people", {"from": SPELLED[0], "to": SHOP, "stopped": True})
        assert (await d.send(To=SPELLED[1], From=SHOP))[1]["code"] == 21610
        assert d.state.label(SPELLED[0]) == d.state.label(SPELLED[1])


async def test_a_message_may_show_under_the_persons_own_spelling() -> None:
    """With the setting, a message shows under the spelling in which the person last wrote.

    Without it, or for a person who never wrote, it shows as given.
    """
    async with desk() as d:
        for spelling, shown in zip(SPELLED, reversed(SPELLED), strict=True):
            d.state.people.at(spelling).wrote_from = shown
            d.state.settings.shows_own_spelling = True
            assert (await d.send(To=spelling, From=SHOP))[1]["to"] == shown
            d.state.settings.shows_own_spelling = False
            assert (await d.send(To=spelling, From=SHOP))[1]["to"] == spelling
        d.state.settings.shows_own_spelling = True
        assert (await d.send(To="whatsapp:+5511995550199", From=SHOP))[1][
            "to"
        ] == "whatsapp:+5511995550199"


async def test_memory_is_bounded() -> None:
    """The oldest messages are forgotten in every index, so that memory is bounded."""
    async with desk() as d:
        d.state.messages._limit = 3
        sids = [(await d.send(To=f"+1415555011{n}"))[1]["sid"] for n in range(5)]
        assert [each["sid"] for each in (await d.get())[1]["messages"]] == sids[:1:-1]
        assert (await d.get(To="+14155550110"))[1]["messages"] == []
        assert (await d.get(f"/{sids[0]}.json"))[0] == 404
        assert len(d.state.messages) == 3


# -- faults ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "action, status, code, taken",
    [
        ("rate_limited", 429, 20429, False),
        ("server_error", 500, 20500, False),
        ("unavailable", 503, 20503, False),
        ("accept_server_error", 500, 20500, True),
        ("accept_unavailable", 503, 20503, True),
        ("reject", 400, 21614, False),
        ("fail", 201, None, True),
    ],
)
async def test_scripted_answers(
    tmp_path: Path, action: str, status: int, code: int | None, taken: bool
) -> None:
    """Each fault answers as announced, and only `accept_…` and `fail` create a message."""
    async with desk(tmp_path) as d:
        await d.fault(action, times=1, retry_after=1.5, code=21614 if action == "reject" else None)
        async with d.session.post(f"{d.messages}.json", data=_SMS, headers=d.auth) as answer:
            assert answer.status == status
            assert (await answer.json()).get("code") == code
            assert answer.headers.get("Retry-After") == (
                "1.5"
                if action in {"rate_limited", "reject", "unavailable", "server_error"}
                else None
            )
        assert len(d.state.messages) == int(taken)
        (post,) = d.posts()
        assert (post["fault"], post["http"], post["sid"] is not None) == (action, status, taken)
        assert (await d.send())[0] == 201


@pytest.mark.parametrize(
    "action, status, taken",
    [
        ("garbage", 502, False),
        ("accept_garbage", 200, True),
        ("rate_limited_bare", 429, False),
        ("accept_rate_limited_bare", 429, True),
    ],
)
async def test_answers_that_are_no_json(action: str, status: int, taken: bool) -> None:
    """An HTML page of a proxy says nothing about the message."""
    async with desk() as d:
        await d.fault(action)
        async with d.session.post(f"{d.messages}.json", data=_SMS, headers=d.auth) as answer:
            assert answer.status == status
            assert answer.content_type.startswith("text/")
        assert len(d.state.messages) == int(taken)


@pytest.mark.parametrize(
    "action, taken",
    [
        ("reset", False),
        ("reset_unread", False),
        ("accept_reset", True),
        ("hang", False),
        ("accept_hang", True),
    ],
)
async def test_connections_that_break(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, action: str, taken: bool
) -> None:
    """A connection that breaks leaves the sender in doubt, but the journal knows, and nothing
    crashes.
    """
    async with desk(tmp_path) as d:
        await d.fault(action, times=1, delay_ms=5)
        with pytest.raises((aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)):
            await d.send()
        assert len(d.state.messages) == int(taken)
        (post,) = d.posts()
        assert (post["http"], post["fault"], post["sid"] is not None) == (None, action, taken)
    assert [record.message for record in caplog.records if record.name == "aiohttp.server"] == []


async def test_the_line_of_a_post_tells_the_providers_clock(tmp_path: Path) -> None:
    """The line of a POST has the provider's clock, by which `verify` checks the expiry."""
    async with desk(tmp_path) as d:
        d.state.outbox.offset_ms = 90_000
        before = d.state.outbox.now_ms()
        await d.send()
        assert before <= d.posts()[0]["at"] <= d.state.outbox.now_ms()


async def test_a_policy_breach_is_flagged_even_when_a_fault_eats_the_post(tmp_path: Path) -> None:
    """A violation is journaled whatever fault answers the POST."""
    async with desk(tmp_path) as d:
        await d.fault("server_error")
        await d.send(To=ANNA, From=SHOP)
        assert d.posts()[0]["violation"] == "outside_window"


@pytest.mark.parametrize(
    "match, hit",
    [
        ({"nth": 2}, [1]),
        ({"nth": [1, 3]}, [0, 2]),
        ({"every": 2}, [1, 3]),
        ({"sender": "+14155550102"}, [2]),
        ({"to": "+14155550113"}, [3]),
        ({"id": "order-1"}, [1]),
        ({"id": "order", "attempt": 4}, []),
        ({"probability": 0.0}, []),
        ({"probability": 1.0}, [0, 1, 2, 3]),
    ],
)
async def test_rules_match_what_they_say(match: dict[str, Any], hit: list[int]) -> None:
    """Rules match by number, sender, recipient, message id, attempt and probability."""
    async with desk() as d:
        await d.fault("server_error", match=match)
        status = []
        for number in range(4):
            callback = f"http://127.0.0.1:1/x?m=order-{number}&a=1"
            form = {
                "To": f"+1415555011{number}",
                "From": f"+1415555010{number}",
                "StatusCallback": callback,
            }
            status.append((await d.send(**form))[0])
        assert [number for number, each in enumerate(status) if each == 500] == hit
        (rule,) = (await d.tell("faults", {}, "GET"))["rules"]
        assert rule["hits"] == len(hit)
        assert (await d.tell("faults", {}, "DELETE"))["rules"] == []


async def test_chance_hits_the_same_messages_in_every_order(tmp_path: Path) -> None:
    """A seed chooses messages, not arrivals, so their order does not change the choice."""

    async def hit(order: list[int]) -> set[int]:
        async with desk() as d:
            await d.fault("server_error", match={"probability": 0.5})
            named = {
                n: (await d.send(StatusCallback=f"http://127.0.0.1:1/x?m=m{n}&a=1"))[0]
                for n in order
            }
        return {number for number, status in named.items() if status == 500}

    first = await hit(list(range(20)))
    assert first == await hit(list(reversed(range(20))))
    assert 0 < len(first) < 20


@pytest.mark.parametrize(
    "action, status", [("unavailable", 503), ("rate_limited", 429), ("garbage", 502)]
)
async def test_lists_and_fetches_misbehave_too(action: str, status: int) -> None:
    """Lists and fetches have faults too."""
    async with desk() as d:
        for on, path in (("list", ".json"), ("fetch", "/SM" + "0" * 32 + ".json")):
            await d.fault(action, on=on, times=1)
            async with d.session.get(f"{d.messages}{path}", headers=d.auth) as answer:
                assert answer.status == status


# -- control ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "what, body, named",
    [
        ("settings", {"account_updates": "dead"}, "account_updates"),
        ("settings", {"account_update": "perhaps"}, "account_update"),
        ("settings", [], "object"),
        ("faults", {"rules": [{"action": "explode"}]}, "action"),
        ("templates", {"sid": "HXnone", "approved": "paused"}, "sid"),
        ("clock", {}, "offset_ms"),
        ("say", {"from": ANNA, "to": SHOP, "body": "hi"}, "inbound_url"),
    ],
)
async def test_a_wrong_order_is_refused_with_the_field_named(
    what: str, body: object, named: str
) -> None:
    """An invalid order gets 400 with a sentence that names the field, and nothing changes."""
    async with desk() as d, d.session.post(f"{d.url}/sandbox/{what}", json=body) as answer:
        assert answer.status == 400
        assert named in (await answer.json())["error"]


@pytest.mark.parametrize(
    ("what", "body", "told"),
    [
        ("faults", {"rules": []}, "rules: is empty; give at least one"),
        ("faults", {"rules": {"action": "reset"}}, "rules: must be a list"),
        ("faults", [], "body: must be an object"),
        (
            "faults",
            {"rules": [{"action": "reset", "time": 1}]},
            (
                "rules.0.time: is not known; use action, on, match, times, delay_ms, code, http, "
                "retry_after, status"
            ),
        ),
        (
            "faults",
            {"rules": [{"action": "reset", "match": {"message_id": "m1"}}]},
            (
                "rules.0.match.message_id: is not known; "
                "use nth, every, probability, sender, to, id, attempt"
            ),
        ),
        ("faults", {"rule": []}, "rules: is missing; give it; rule: is not known; use rules"),
        (
            "faults",
            {"rules": [{"action": "reset", "on": "post"}]},
            "rules.0.on: must be 'create', 'list' or 'fetch'",
        ),
        (
            "faults",
            {"rules": [{"action": "reset", "match": {"nth": "first"}}]},
            "rules.0.match.nth: must be a list; rules.0.match.nth: must be a whole number",
        ),
        (
            "say",
            {"form": ANNA, "to": SHOP},
            "lost, sid, user_id, payload, method, door, rcs, means, extra",
        ),
        ("settings", {"latency": 1}, "latency: is not known; use account_update, "),
    ],
)
async def test_a_wrong_order_is_told_what_is_allowed(what: str, body: object, told: str) -> None:
    """The error for an invalid order lists the allowed names in plain words."""
    async with desk() as d, d.session.post(f"{d.url}/sandbox/{what}", json=body) as answer:
        assert answer.status == 400
        assert told in (await answer.json())["error"]


async def test_the_page_tells_all_there_is_to_ask_for(root: Path) -> None:
    """docs/sandbox.md names each action, each key of a rule, and each path."""
    page = (root / "docs" / "sandbox.md").read_text("utf-8")
    names = {*Action, *FaultRule.model_fields, *Match.model_fields}
    assert [name for name in sorted(names) if f"`{name}`" not in page] == []
    assert [route.path for route in ROUTES if f" {route.path}" not in page] == []


async def test_a_body_that_is_no_json_is_called_so() -> None:
    """A body that is no JSON, such as a form or an empty one, is reported as that."""
    async with desk() as d, d.session.post(f"{d.url}/sandbox/faults", data=b"rules=") as answer:
        assert (answer.status, await answer.json()) == (
            400,
            {"error": "body: is not JSON; send an object"},
        )


async def test_counters_tell_what_happened() -> None:
    """The counters show posts, codes, faults and violations."""
    async with desk() as d:
        await d.fault("server_error", times=1)
        for _ in range(2):
            await d.send()
        await d.send(To=ANNA, From=SHOP)
        await d.get()
        stats = await d.tell("stats", {}, "GET")
    assert (stats["posts"], stats["accepted"], stats["not_accepted"], stats["lists"]) == (
        3,
        2,
        1,
        1,
    )
    assert stats["codes"] == {"20500": 1, "63016": 1}
    assert stats["violations"] == {"outside_window": 1}
    assert stats["faults"] == {"server_error": 1}
