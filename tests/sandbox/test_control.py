"""What a test tells the sandbox, and what it refuses."""

from pathlib import Path

import pytest

from sandbox.control import ROUTES
from sandbox.faults import Action, FaultRule, Match
from tests.support.cast import ANNA, SHOP
from tests.support.sandbox_desk import desk

pytestmark = pytest.mark.asyncio


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
