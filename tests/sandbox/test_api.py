"""The sandbox answers in the formats of Twilio, and checks credentials."""

from pathlib import Path

import pytest

from tests.support.cast import ACCOUNT_SID
from tests.support.sandbox_desk import basic, desk

pytestmark = pytest.mark.asyncio


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
