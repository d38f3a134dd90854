"""The sandbox misbehaves as its fault rules say."""

from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.cast import ANNA, SHOP
from tests.support.sandbox_desk import SMS, desk

pytestmark = pytest.mark.asyncio


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
        async with d.session.post(f"{d.messages}.json", data=SMS, headers=d.auth) as answer:
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
        async with d.session.post(f"{d.messages}.json", data=SMS, headers=d.auth) as answer:
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
