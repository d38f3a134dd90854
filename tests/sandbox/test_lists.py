"""The sandbox lists messages as Twilio does."""

import pytest

from tests.support.cast import ANNA, SHOP
from tests.support.sandbox_desk import desk

pytestmark = pytest.mark.asyncio


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
    """`date_sent` is null for what was not sent; a bare date is that whole day in GMT."""
    async with desk() as d:
        await d.fault("fail", code=30500, times=1)
        await d.send(StatusCallback="http://127.0.0.1:1/x")
        await d.tell("idle", {}, "GET")
        assert (await d.get(**{"DateSent>": "2020-01-01"}))[1]["messages"] == []
        await d.send(StatusCallback="http://127.0.0.1:1/x")
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
