"""Twilio's lists and messages, read to their end or not believed."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qs, urlsplit

import pytest

from policies.error_catalogue import Operation, is_missing
from tests.support.cast import ACCOUNT_SID, MESSAGE_SID
from tests.support.twilio_server import Handler, answer, client, reset, sending, serving
from worker.ports.breakers import AccountAnswer
from worker.twilio.messages import ReadFailed

pytestmark = pytest.mark.asyncio


def row(number: int, at: str, **fields: object) -> dict[str, object]:
    base: dict[str, object] = {
        "sid": f"SM{number:032x}",
        "status": "sent",
        "direction": "outbound-api",
        "to": "whatsapp:+14155550100",
        "from": "whatsapp:+14155550123",
        "body": "hello",
        "date_created": at,
        "error_code": None,
    }
    return base | fields


NOON: Final = "Sat, 21 Nov 2026 12:00:00 +0000"


ELEVEN: Final = "Sat, 21 Nov 2026 11:00:00 +0000"


def pages(*contents: list[dict[str, object]]) -> Handler:
    """Serve the contents as linked pages."""

    async def handle(request: bytes, writer: asyncio.StreamWriter) -> None:
        target = request.split(b" ", 2)[1].decode()
        number = int(parse_qs(urlsplit(target).query).get("Page", ["0"])[0])
        more = number + 1 < len(contents)
        link = (
            f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json?Page={number + 1}" if more else None
        )
        writer.write(
            answer(200, json.dumps({"messages": contents[number], "next_page_uri": link}).encode())
        )

    return handle


async def listed(
    url: str, *, since: datetime, max_requests: int = 5
) -> tuple[list[str], bool, int]:
    async with client(url) as twilio:
        listing = await twilio.list_messages(
            "main",
            to="whatsapp:+14155550100",
            from_address="whatsapp:+14155550123",
            since=since,
            max_requests=max_requests,
        )
    return [found.message_sid[-1] for found in listing.rows], listing.is_whole, listing.requests


LONG_AGO: Final = datetime(2020, 1, 1, tzinfo=UTC)


async def test_a_list_is_read_to_its_last_page() -> None:
    """A list holds the rows of all pages and is whole."""
    async with serving(pages([row(1, NOON)], [row(2, NOON)], [row(3, ELEVEN)])) as url:
        assert await listed(url, since=LONG_AGO) == (["1", "2", "3"], True, 3)


async def test_a_list_cut_short_by_its_limit_is_not_whole() -> None:
    """A list that the token bucket cut is not whole."""
    async with serving(pages([row(1, NOON)], [row(2, NOON)])) as url:
        assert await listed(url, since=LONG_AGO, max_requests=1) == (["1"], False, 1)


async def test_paging_stops_where_the_rest_is_older_but_only_when_newest_come_first() -> None:
    """Paging stops at older pages only while rows come newest first."""
    since = datetime(2026, 11, 21, 11, 30, tzinfo=UTC)
    async with serving(pages([row(1, NOON), row(2, ELEVEN)], [row(3, ELEVEN)])) as url:
        assert await listed(url, since=since) == (["1", "2"], False, 1)
    async with serving(
        pages([row(1, ELEVEN), row(2, NOON), row(3, ELEVEN)], [row(4, NOON)])
    ) as url:
        assert await listed(url, since=since) == (["1", "2", "3", "4"], True, 2)


async def test_inbound_messages_are_left_out_and_nothing_else() -> None:
    """The list leaves out inbound messages only.

    Twilio may write an address in another form, so a dropped row could be the one searched for.
    """
    foreign = row(2, NOON, to="whatsapp:+14155550199")
    inbound: dict[str, object] = {"direction": "inbound"}
    async with serving(
        pages([row(1, NOON), foreign, inbound, row(3, NOON, **{"from": None})])
    ) as url:
        assert await listed(url, since=LONG_AGO) == (["1", "2", "3"], True, 1)


def written(number: int, at: str, **fields: object) -> dict[str, object]:
    """A row of a message that a person wrote."""
    return row(number, at, direction="inbound", status="received", **fields)


async def inbounds(url: str, since: datetime, max_requests: int = 5) -> tuple[list[str], bool, int]:
    async with client(url) as twilio:
        listing = await twilio.list_inbound("main", since, max_requests)
    return [found.message_sid[-1] for found in listing.rows], listing.is_complete, listing.requests


async def test_what_persons_wrote_is_listed_oldest_first_and_without_what_we_sent() -> None:
    """The messages of persons are listed oldest first, back to the given instant."""
    since = datetime(2026, 11, 21, 11, 30, tzinfo=UTC)
    newest = "Sat, 21 Nov 2026 12:30:00 +0000"
    served = pages(
        [written(5, newest), row(4, NOON)],
        [written(3, NOON), written(2, ELEVEN)],
        [written(1, ELEVEN)],
    )
    async with serving(served) as url:
        assert await inbounds(url, since) == (["3", "5"], True, 2)
        assert await inbounds(url, since, max_requests=1) == (["5"], False, 1)
        assert await inbounds(url, LONG_AGO) == (["1", "2", "3", "5"], True, 3)


async def test_an_inbound_row_that_cannot_be_read_makes_the_list_incomplete() -> None:
    """An inbound row that cannot be read makes the list incomplete, because it could be the
    STOP.
    """
    async with serving(pages([written(2, NOON), {"direction": "inbound"}])) as url:
        assert await inbounds(url, LONG_AGO) == (["2"], False, 1)


@pytest.mark.parametrize(
    "handler",
    [
        pytest.param(sending(answer(500, b"")), id="500"),
        pytest.param(sending(answer(200, b"<html>")), id="no-json"),
        pytest.param(
            sending(answer(200, b'{"messages": [{"sid": 1}]}')), id="a-row-without-a-date"
        ),
        pytest.param(reset, id="reset"),
        pytest.param(
            sending(answer(200, b'{"messages": [], "next_page_uri": "http://evil.example/"}')),
            id="another-host",
        ),
    ],
)
async def test_a_list_that_cannot_be_read_is_no_evidence(handler: Handler) -> None:
    """A list that cannot be read raises, so that it does not count as an empty list."""
    async with serving(handler) as url:
        with pytest.raises(ReadFailed):
            await listed(url, since=LONG_AGO)


async def test_a_message_is_fetched() -> None:
    """A fetch returns the row."""
    message = json.dumps(row(7, NOON, error_code=63016)).encode()
    async with serving(sending(answer(200, message))) as url, client(url) as twilio:
        found = await twilio.fetch("main", MESSAGE_SID)
    assert (found.status, found.error_code) == ("sent", 63016)


@pytest.mark.parametrize(
    "status, body, code, missing",
    [
        pytest.param(404, b'{"code": 20404, "status": 404}', 20404, True, id="twilio"),
        pytest.param(404, b"<html><body>404 Not Found</body></html>", None, False, id="proxy"),
        pytest.param(404, b"", None, False, id="empty"),
        pytest.param(404, b'{"error": "no route"}', None, False, id="json-of-a-proxy"),
        pytest.param(404, b'{"code": 20003}', 20003, False, id="another-code"),
        pytest.param(404, b'["20404"]', None, False, id="no-object"),
        pytest.param(404, b'{"code": 20404', None, False, id="cut"),
        pytest.param(410, b"gone", None, False, id="410"),
        pytest.param(200, b'{"code": 20404}', None, False, id="no-error"),
        pytest.param(503, b"", None, False, id="503"),
        pytest.param(503, b'{"code": 20404}', 20404, False, id="503-with-the-code"),
    ],
)
async def test_only_twilios_own_word_proves_that_a_message_is_missing(
    status: int, body: bytes, code: int | None, *, missing: bool
) -> None:
    """Only Twilio's own 404 proves a message missing, and every fetch without a message raises."""
    async with serving(sending(answer(status, body))) as url, client(url) as twilio:
        with pytest.raises(ReadFailed) as caught:
            await twilio.fetch("main", MESSAGE_SID)
    failed = caught.value
    assert (failed.operation, failed.status, failed.code) == (Operation.FETCH, status, code)
    assert is_missing(failed.code, failed.status, failed.operation) is missing


@pytest.mark.parametrize(
    "status, body, expected",
    [
        (200, b'{"status": "active"}', AccountAnswer.ACTIVE),
        (200, b"{}", AccountAnswer.ACTIVE),
        (200, b'{"status": "suspended"}', AccountAnswer.REFUSED),
        (200, b"<html>", AccountAnswer.REFUSED),
        (401, b'{"code": 20003}', AccountAnswer.REFUSED),
        (404, b"", AccountAnswer.REFUSED),
        (503, b"", AccountAnswer.NONE),
    ],
)
async def test_an_account_is_asked_for_by_a_get_of_its_own(
    status: int, body: bytes, expected: AccountAnswer
) -> None:
    """An error of the server is no answer, and only an active account may send."""
    asked = []

    async def handle(request: bytes, writer: asyncio.StreamWriter) -> None:
        asked.append(request.split(b" HTTP")[0])
        writer.write(answer(status, body))

    async with serving(handle) as url, client(url) as twilio:
        assert await twilio.read_account("main") is expected
    assert asked == [f"GET /2010-04-01/Accounts/{ACCOUNT_SID}.json".encode()]


async def test_a_connection_that_breaks_is_no_answer() -> None:
    """Nothing is known about the account then."""
    async with serving(reset) as url, client(url) as twilio:
        assert await twilio.read_account("main") is AccountAnswer.NONE


async def test_a_list_that_is_not_found_says_what_was_asked_for() -> None:
    """An account's list that is not found raises and names what was asked for.

    It does not count as empty.
    """
    async with serving(sending(answer(404, b'{"code": 20404}'))) as url:
        with pytest.raises(ReadFailed) as caught:
            await listed(url, since=LONG_AGO)
    assert (caught.value.operation, caught.value.status, caught.value.code) == (
        Operation.LIST,
        404,
        20404,
    )
