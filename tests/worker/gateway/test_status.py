"""Status callbacks over real sockets and a real store: applied once, forward only, stored before
the answer.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from sendwindow.vocabulary import Stage
from tests.support.cast import ANNA, MESSAGE_SID
from tests.support.gateway_world import Between, gateway_at, journal_lines, status_form
from tests.support.stores_world import Place, accepted
from worker.ports.statuses import StatusApplied, Statuses, StatusUpdate
from worker.stores.store import Store

OTHER_SID = "SM" + "c" * 32


@pytest.mark.asyncio
async def test_a_status_is_stored_before_the_answer(store: Place) -> None:
    """A callback answered with 2xx is in the record."""
    async with gateway_at(store) as scene:
        await scene.world.accept(sid=MESSAGE_SID)
        assert await scene.twilio.status("delivered") == 204
        row = await scene.world.row()
        assert row["st"] == "delivered"


@pytest.mark.asyncio
async def test_statuses_only_move_forward_whatever_their_order(store: Place) -> None:
    """`sent` after `delivered` changes nothing and gets a 2xx, since Twilio promises no order."""
    async with gateway_at(store) as scene:
        await scene.world.accept(sid=MESSAGE_SID)
        for status in ("delivered", "sent", "queued", "read", "delivered"):
            assert await scene.twilio.status(status) == 204
        assert (await scene.world.row())["st"] == "read"
        effects = [line["effect"] for line in scene.lines if line["event"] == "callback"]
        assert effects == ["moved", "repeated", "repeated", "moved", "repeated"]


@pytest.mark.asyncio
async def test_a_repeated_callback_changes_nothing(store: Place) -> None:
    """A repeated callback changes nothing.

    A signature holds no time, so a replayed callback is valid.
    """
    async with gateway_at(store) as scene:
        await scene.world.accept(sid=MESSAGE_SID)
        await scene.twilio.status("sent")
        before = await scene.world.contents()
        for _ in range(3):
            assert await scene.twilio.status("sent") == 204
        assert await scene.world.contents() == before


@pytest.mark.asyncio
async def test_a_callback_resolves_an_unknown_outcome(store: Place, tmp_path: Path) -> None:
    """Any callback proves that Twilio accepted the attempt in the signed query, and under which
    SID.
    """
    journal = tmp_path / "journal"
    async with gateway_at(store, journal=journal) as scene:
        await scene.world.park()
        assert await scene.twilio.status("sent") == 204
        row = await scene.world.row()
        assert (row["s"], row["sid"]) == (Stage.ACCEPTED, MESSAGE_SID)
    lines = journal_lines(journal)
    assert [line["e"] for line in lines] == ["callback", "resolved"]
    assert {
        name: lines[0][name] for name in ("sid", "status", "id", "attempt", "known", "resolved")
    } == {
        "sid": MESSAGE_SID,
        "status": "sent",
        "id": "m1",
        "attempt": 1,
        "known": True,
        "resolved": True,
    }
    assert {name: lines[1][name] for name in ("id", "attempt", "reason", "sid")} == {
        "id": "m1",
        "attempt": 1,
        "reason": "evidence_callback",
        "sid": MESSAGE_SID,
    }


@pytest.mark.asyncio
async def test_a_callback_that_beats_the_reply_is_kept(store: Place) -> None:
    """A callback that arrives before the POST's answer is kept until the answer is recorded."""
    async with gateway_at(store) as scene:
        claimed = await scene.world.post()
        assert await scene.twilio.status("delivered") == 204
        await scene.world.settle(claimed, accepted(MESSAGE_SID))
        row = await scene.world.row()
        assert (row["s"], row["sid"], row["st"]) == (Stage.ACCEPTED, MESSAGE_SID, "delivered")


@pytest.mark.asyncio
async def test_a_second_copy_is_one_warning(store: Place) -> None:
    """A second SID for a message logs one warning that names only the message.

    A broken promise P3 must not show in a counter alone.
    """
    async with gateway_at(store) as scene:
        await scene.world.accept(sid=MESSAGE_SID)
        for status in ("sent", "delivered"):
            assert await scene.twilio.status(status, MessageSid=OTHER_SID) == 204
        [line] = [line for line in scene.lines if line["event"] == "duplicate"]
    assert {
        name for name in line if name not in ("event", "level", "log_level", "message_id")
    } == set()
    assert line["message_id"] == "m1"


@pytest.mark.asyncio
async def test_a_message_sent_by_someone_else_is_answered(store: Place) -> None:
    """A callback without our query, or of an unknown id, gets a 2xx, so that Twilio does not
    repeat it.
    """
    async with gateway_at(store) as scene:
        assert await scene.twilio.status("sent", query="") == 204
        assert (
            await scene.twilio.status("sent", query="?m=elsewhere&a=1", MessageSid=OTHER_SID) == 204
        )
        assert [line["effect"] for line in scene.lines] == ["unknown", "unknown"]


@pytest.mark.asyncio
async def test_a_failure_teaches_what_its_code_says(store: Place) -> None:
    """21610 after acceptance is an opt-out for the next decision (Twilio, error 21610)."""
    async with gateway_at(store) as scene:
        await scene.world.accept(sid=MESSAGE_SID)
        assert await scene.twilio.status("failed", ErrorCode="21610") == 204
        facts = await scene.world.store.people.facts(ANNA, "shop", "main", None)
        assert [one.granted for one in facts.person.consents] == [False]
        assert (await scene.world.row())["c"] == "21610"


@pytest.mark.asyncio
async def test_a_failure_that_may_pass_reopens_the_message(store: Place) -> None:
    """`failed` is definite for its SID, so a retryable code starts a new attempt (Twilio, error
    30500).
    """
    async with gateway_at(store) as scene:
        await scene.world.accept(sid=MESSAGE_SID)
        assert await scene.twilio.status("failed", ErrorCode="30500") == 204
        assert (await scene.world.row())["s"] == Stage.RETRYING
        assert scene.lines[-1]["effect"] == "reopened"


@pytest.mark.asyncio
async def test_a_get_callback_is_applied_too(store: Place) -> None:
    """A callback by GET is applied: its query holds everything and is signed as a URL."""
    async with gateway_at(store) as scene:
        await scene.world.accept(sid=MESSAGE_SID)
        assert await scene.twilio.get("/twilio/status?m=m1&a=1", status_form("delivered")) == 204
        assert (await scene.world.row())["st"] == "delivered"


@pytest.mark.asyncio
async def test_a_json_callback_is_applied_too(store: Place) -> None:
    """A JSON callback is checked by bodySHA256 in the signed query, and a longer body is
    refused.
    """
    async with gateway_at(store) as scene:
        await scene.world.accept(sid=MESSAGE_SID)
        value = dict(status_form("delivered"))
        assert (
            await scene.twilio.post_json(
                "/twilio/status?m=m1&a=1", value, body=b'{"AccountSid": "AC"}'
            )
            == 403
        )
        assert (await scene.world.row())["st"] == "queued"
        assert await scene.twilio.post_json("/twilio/status?m=m1&a=1", value) == 204
        assert (await scene.world.row())["st"] == "delivered"


@pytest.mark.asyncio
async def test_an_id_with_special_characters_survives_the_query(store: Place) -> None:
    """The message id is percent-encoded in the callback URL and compared in its decoded form."""
    async with gateway_at(store) as scene:
        await scene.world.accept("order:7", sid=MESSAGE_SID)
        assert await scene.twilio.status("sent", query="?m=order%3A7&a=1") == 204
        assert (await scene.world.row("order:7"))["st"] == "sent"


@pytest.mark.asyncio
async def test_a_late_callback_of_an_id_used_again_is_answered_and_changes_nothing(
    store: Place,
) -> None:
    """A late callback of a reused id gets a 2xx and changes nothing.

    The signed query names the life by its time of enqueue.
    """
    async with gateway_at(store) as scene:
        world = scene.world
        await world.accept(sid=MESSAGE_SID)
        life = (await world.row())["q"]
        await world.redis.delete(
            world.keys.row("m1"), world.keys.timeline("m1"), world.keys.sid(MESSAGE_SID)
        )
        await world.later(hours=73)
        await world.enqueue()
        assert await scene.twilio.status("read", query=f"?m=m1&a=1&q={life}") == 204
        assert scene.lines[-1]["effect"] == "unknown"
        (claimed,) = await world.claim()
        await world.admit(claimed)
        life = (await world.row())["q"]
        assert (
            await scene.twilio.status("sent", query=f"?m=m1&a=1&q={life}", MessageSid=OTHER_SID)
            == 204
        )
        await world.settle(claimed, accepted(OTHER_SID))
        assert (await world.row())["st"] == "sent"


class CountedStatuses:
    """Records how many updates each call to the store carries."""

    def __init__(self, statuses: Statuses) -> None:
        self._statuses = statuses
        self.sizes: list[int] = []

    async def apply(self, updates: Sequence[StatusUpdate]) -> list[StatusApplied]:
        self.sizes.append(len(updates))
        return await self._statuses.apply(updates)


@pytest.mark.asyncio
async def test_many_callbacks_at_once_are_stored_in_few_calls(store: Place) -> None:
    """Callbacks that arrive together become one call of at most 32."""
    counted: list[CountedStatuses] = []

    def wrap(real: Store) -> Between:
        between = Between(real)
        counted.append(CountedStatuses(real.statuses))
        between.statuses = counted[0]
        return between

    async with gateway_at(store, wrap=wrap) as scene:
        for number in range(60):
            await scene.world.accept(f"m{number}", sid=f"SM{number:032x}")
        answers = await asyncio.gather(
            *(
                scene.twilio.status(
                    "sent", query=f"?m=m{number}&a=1", MessageSid=f"SM{number:032x}"
                )
                for number in range(60)
            )
        )
        assert set(answers) == {204}
        assert {(await scene.world.row(f"m{number}"))["st"] for number in range(60)} == {"sent"}
    assert sum(counted[0].sizes) == 60
    assert max(counted[0].sizes) <= 32
    assert len(counted[0].sizes) < 60
