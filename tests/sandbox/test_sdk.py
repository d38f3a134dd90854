"""Twilio's official SDK, sync and async, with the sandbox: all its calls about messages and the
account.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client

from sandbox.status_schedule import Step
from tests.support.cast import ACCOUNT_SID
from tests.support.sandbox_desk import Desk, desk

pytestmark = [
    pytest.mark.asyncio,
    # The SDK's async client still passes `auth=`, which aiohttp deprecates.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:twilio"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:aiohttp"),
]

MG: Final = "MG" + "2" * 32
SENDER: Final = "+14155550100"
TO: Final = "+14155550123"
IMAGE, CARD = "https://shop.example/a.png", "https://shop.example/b.vcf"


class Sdk:
    """One client.

    `call` runs a method, the sync one in a thread, because the sandbox shares this loop.
    """

    def __init__(self, client: Client, talk: Desk, *, is_async: bool) -> None:
        self.client, self.desk, self._is_async = client, talk, is_async

    async def call(self, owner: Any, name: str, **arguments: Any) -> Any:
        if self._is_async:
            return await getattr(owner, f"{name}_async")(**arguments)
        method: Callable[..., Any] = getattr(owner, name)
        return await asyncio.to_thread(method, **arguments)

    async def send(self, **more: Any) -> Any:
        return await self.call(
            self.client.messages, "create", to=TO, **({"from_": SENDER, "body": "hello"} | more)
        )

    async def scheduled(self) -> Any:
        at = datetime.now(UTC) + timedelta(hours=1)
        more = {
            "messaging_service_sid": MG,
            "body": "later",
            "schedule_type": "fixed",
            "send_at": at,
        }
        return await self.call(self.client.messages, "create", to=TO, **more)

    async def refusal(self, owner: Any, name: str, **arguments: Any) -> tuple[int, int]:
        with pytest.raises(TwilioRestException) as refused:
            await self.call(owner, name, **arguments)
        return refused.value.status, refused.value.code


@asynccontextmanager
async def sdk(*, is_async: bool) -> AsyncIterator[Sdk]:
    async with desk(services={MG: (SENDER,)}) as talk:
        http = AsyncTwilioHttpClient() if is_async else TwilioHttpClient(timeout=30)
        client = Client(ACCOUNT_SID, "secret", http_client=http, environment={"-": "-"})
        client.api.base_url = talk.url
        try:
            yield Sdk(client, talk, is_async=is_async)
        finally:
            if isinstance(http, AsyncTwilioHttpClient):
                await http.close()
            elif http.session is not None:
                http.session.close()


both = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])


@both
async def test_create_fetch_and_list(is_async: bool) -> None:
    """The SDK reads every field that the sandbox writes."""
    async with sdk(is_async=is_async) as s:
        sent = await s.send()
        fetched = await s.call(s.client.messages(sent.sid), "fetch")
        listed = await s.call(s.client.messages, "list", to=TO)
    assert (fetched.sid, fetched.body, fetched.to, fetched.from_) == (sent.sid, "hello", TO, SENDER)
    assert fetched.date_created.tzinfo is not None
    assert [message.sid for message in listed] == [sent.sid]


@both
async def test_a_scheduled_message_is_cancelled_and_stays_so(is_async: bool) -> None:
    """A scheduled message becomes `canceled`, and a second cancel comes too late."""
    async with sdk(is_async=is_async) as s:
        message = s.client.messages((await s.scheduled()).sid)
        assert (await s.call(message, "update", status="canceled")).status == "canceled"
        assert (await s.call(message, "fetch")).status == "canceled"
        assert await s.refusal(message, "update", status="canceled") == (409, 30409)


@both
async def test_a_queued_message_that_is_cancelled_goes_no_further(is_async: bool) -> None:
    """A queued message that is cancelled has no later status."""
    async with sdk(is_async=is_async) as s:
        message = s.client.messages((await s.scheduled()).sid)
        held = next(iter(s.desk.state.messages.newest_first()))
        held.status = "queued"  # as when its time has come
        assert (await s.call(message, "update", status="canceled")).status == "canceled"
        s.desk.state.callbacks.play(held, [Step(0, "sent"), Step(0, "delivered")])
        await s.desk.state.callbacks.drained()
        assert (await s.call(message, "fetch")).status == "canceled"


@both
async def test_a_message_that_was_sent_cannot_be_cancelled(is_async: bool) -> None:
    """A message that was sent gets 409 with 30409, and its status stays."""
    async with sdk(is_async=is_async) as s:
        message = s.client.messages((await s.send()).sid)
        await s.desk.state.callbacks.drained()
        before = (await s.call(message, "fetch")).status
        assert await s.refusal(message, "update", status="canceled") == (409, 30409)
        assert (await s.call(message, "fetch")).status == before


@both
async def test_an_empty_body_redacts(is_async: bool) -> None:
    """An empty body removes the text from fetches and lists, and a body with text is refused."""
    async with sdk(is_async=is_async) as s:
        message = s.client.messages((await s.send()).sid)
        assert await s.refusal(message, "update", body="other") == (400, 20422)
        assert (await s.call(message, "update", body="")).body == ""
        assert [row.body for row in await s.call(s.client.messages, "list")] == [""]


@both
async def test_a_deleted_message_is_gone(is_async: bool) -> None:
    """A deleted message is in no fetch and no list, a second delete fails, and other messages
    stay.
    """
    async with sdk(is_async=is_async) as s:
        first, second, third = [(await s.send()).sid for _ in range(3)]
        assert await s.call(s.client.messages(second), "delete") is True
        assert await s.refusal(s.client.messages(second), "fetch") == (404, 20404)
        assert await s.refusal(s.client.messages(second), "delete") == (404, 20404)
        for filters in ({}, {"to": TO}, {"from_": SENDER}):
            listed = await s.call(s.client.messages, "list", **filters)
            assert [message.sid for message in listed] == [third, first]


@both
async def test_media_are_listed_fetched_and_deleted(is_async: bool) -> None:
    """Each medium has a SID and the type that its name suggests, and a deleted one is gone."""
    async with sdk(is_async=is_async) as s:
        message = s.client.messages((await s.send(media_url=[IMAGE, CARD])).sid)
        image, card = await s.call(message.media, "list")
        assert (image.content_type, card.content_type) == ("image/png", "text/vcard")
        fetched = await s.call(message.media(image.sid), "fetch")
        assert (fetched.sid, fetched.parent_sid) == (image.sid, message._solution["sid"])
        assert await s.call(message.media(image.sid), "delete") is True
        assert await s.refusal(message.media(image.sid), "fetch") == (404, 20404)
        assert await s.refusal(message.media(image.sid), "delete") == (404, 20404)
        assert [medium.sid for medium in await s.call(message.media, "list")] == [card.sid]


@both
async def test_the_account_is_fetched(is_async: bool) -> None:
    """An account with its own credentials can be fetched, and its token is never shown."""
    async with sdk(is_async=is_async) as s:
        account = await s.call(s.client.api.accounts(ACCOUNT_SID), "fetch")
        assert (account.sid, account.status, account.auth_token) == (ACCOUNT_SID, "active", None)
        other = s.client.api.accounts("AC" + "9" * 32)
        assert await s.refusal(other, "fetch") == (404, 20404)


@both
async def test_wrong_credentials_reach_nothing(is_async: bool) -> None:
    """Wrong credentials get 401 with 20003 for every request, and nothing changes."""
    async with sdk(is_async=is_async) as s:
        sid = (await s.send(media_url=[IMAGE])).sid
        s.client.auth = s.client.username, s.client.password = ACCOUNT_SID, "wrong"
        message, media = s.client.messages(sid), s.client.messages(sid).media
        asked = [
            (message, "update", {"body": ""}),
            (message, "delete", {}),
            (media("ME" + "0" * 32), "fetch", {}),
            (media("ME" + "0" * 32), "delete", {}),
            (s.client.api.accounts(ACCOUNT_SID), "fetch", {}),
        ]
        assert [await s.refusal(owner, name, **more) for owner, name, more in asked] == [
            (401, 20003)
        ] * len(asked)
        # The SDK has no status and code for a list that it cannot read.
        with pytest.raises(TwilioException, match="20003"):
            await s.call(media, "list")
        held = s.desk.state.messages.by_sid(sid)
    assert held is not None
    assert (held.body, len(held.media_urls)) == ("hello", 1)


@pytest.mark.parametrize("form", [{}, {"Status": "sent"}, {"Status": ""}, {"Body": "", "To": TO}])
async def test_any_other_update_is_refused(form: dict[str, str]) -> None:
    """Any other update gets 400 with 20422, and the message stays as it is."""
    async with desk() as d:
        _, sent = await d.send()
        async with d.session.post(
            f"{d.messages}/{sent['sid']}.json", data=form, headers=d.auth
        ) as answer:
            assert (answer.status, (await answer.json())["code"]) == (400, 20422)
        assert (await d.get(f"/{sent['sid']}.json"))[1]["body"] == "hello"
