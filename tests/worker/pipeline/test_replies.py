"""What Twilio's reply means for the message and for what it teaches."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web

from policies.status import describe
from sendwindow.contract import Freeform, Template
from sendwindow.vocabulary import OnUnknown, Priority, Purpose, Reason, Stage
from tests.support.cast import MIA, sid
from tests.support.pipeline_world import (
    Twilio,
    accepting,
    dispatching,
    rejecting,
    resetting,
)
from tests.support.stores_world import Place
from worker.ports.people import Inbound
from worker.ports.statuses import StatusUpdate

pytestmark = pytest.mark.asyncio


async def test_an_unproven_outcome_is_parked_and_bound_by_a_callback_that_names_its_attempt(
    store: Place, tmp_path: Path
) -> None:
    """A reset after the request was read parks the message; a signed callback proves it accepted.

    There is one POST.
    """
    async with dispatching(store, tmp_path / "j", resetting) as world:
        await world.consents()
        await world.writes()
        await world.enqueue()
        await world.run_until(Stage.UNKNOWN)
        assert (await world.stage(), await world.reason()) == ("unknown", "outcome_connection_lost")
        step = describe("sent")
        update = StatusUpdate(
            sid(9), "sent", step.rank, step.is_final, step.is_failure, None, "m1", 1
        )
        (applied,) = await world.store.statuses.apply([update])
        assert applied.resolved
        record = await world.record()
        assert (record.row["s"], record.row["sid"], record.row["st"]) == (
            "accepted",
            sid(9),
            "sent",
        )
        assert len(world.twilio.posts) == 1


async def test_a_closed_window_at_twilio_is_learnt_and_decided_once_more(
    store: Place, tmp_path: Path
) -> None:
    """63016 for a freeform closes our record, and the second decision takes the template."""
    async with dispatching(store, tmp_path / "j", rejecting(63016)) as world:
        await world.consents()
        await world.writes()
        await world.enqueue(template=Template(name="order", language="en", variables={"1": "A-1"}))
        await world.run_until(Stage.ACCEPTED)
        first, second = world.twilio.posts
        assert first["Body"] == "hello"
        assert second["ContentSid"] == "HX" + "0" * 32


async def test_an_opt_out_at_twilio_ends_the_message_and_stops_the_next(
    store: Place, tmp_path: Path
) -> None:
    """21610 is recorded as an opt-out, and later messages are refused without a POST."""
    async with dispatching(store, tmp_path / "j", rejecting(21610)) as world:
        await world.consents()
        await world.writes()
        await world.enqueue()
        await world.run_until(Stage.FAILED)
        record = await world.record()
        assert (record.row["s"], record.row["c"]) == ("failed", "21610")
        await world.enqueue("m2")
        await world.run_until(Stage.REFUSED)
        assert await world.reason("m2") == "opted_out"
        assert len(world.twilio.posts) == 1


async def test_too_many_requests_are_tried_again_safely(store: Place, tmp_path: Path) -> None:
    """429 with 20429 was not processed, so the message goes out later, once."""
    async with dispatching(store, tmp_path / "j", rejecting(20429, 429)) as world:
        await world.consents()
        await world.writes()
        await world.enqueue()
        async with world.working():
            await world.watch.until(
                lambda: (Stage.RETRYING, Reason.THROTTLED) in world.watch.stages
            )
            await world.later(seconds=30)
            await world.watch.until(lambda: (Stage.ACCEPTED, Reason.ACCEPTED) in world.watch.stages)
        assert len(world.twilio.posts) == 2


async def test_refused_credentials_stop_the_account_not_the_message(
    store: Place, tmp_path: Path
) -> None:
    """20003 pauses the account; the message stays queued and others are not tried."""
    async with dispatching(store, tmp_path / "j", rejecting(20003, 401)) as world:
        await world.consents()
        await world.writes()
        await world.enqueue()
        await world.run_until(Stage.RETRYING)
        assert await world.reason() == "account_paused"
        await world.enqueue("m2")
        batch = await world.store.ledger.claim(10)
        assert batch.claimed == ()


async def refusing(twilio: Twilio, form: dict[str, str]) -> web.StreamResponse:
    """Refuse the credentials until the test says otherwise."""
    if twilio.is_refusing:
        return web.json_response({"code": 20003, "status": 401}, status=401)
    return await accepting(twilio, form)


async def test_a_wrong_token_ends_no_login_code_before_its_time(
    store: Place, tmp_path: Path
) -> None:
    """A code that is valid for five minutes waits, and goes out once the token is right.

    Its own pause would last longer. While it waits, its reason names the cause.
    """
    async with dispatching(store, tmp_path / "j", refusing) as world:
        world.twilio.is_refusing = True
        await world.consents()
        await world.writes()
        soon = datetime.now(UTC) + timedelta(minutes=5)
        await world.enqueue("code", priority=Priority.URGENT, expires_at=soon)
        async with world.working():
            await world.watch.until(
                lambda: (Stage.RETRYING, Reason.ACCOUNT_PAUSED) in world.watch.stages
            )
            record = await world.record("code")
            assert (record.row["s"], record.row["r"], record.row["c"]) == (
                "retrying",
                "account_paused",
                "20003",
            )
            # Twilio is asked, and still refuses.
            await world.twilio.until_read(1)
            assert len(world.twilio.posts) == 1
            world.twilio.is_refusing = False
            await world.later(seconds=5)
            await world.watch.until(lambda: (Stage.ACCEPTED, Reason.ACCEPTED) in world.watch.stages)
        assert len(world.twilio.posts) == 2


async def test_a_message_that_expires_while_its_account_is_paused_says_so(
    store: Place, tmp_path: Path
) -> None:
    """It ends at its own time, and its trace names the pause."""
    async with dispatching(store, tmp_path / "j", refusing) as world:
        world.twilio.is_refusing = True
        await world.consents()
        await world.writes()
        soon = datetime.now(UTC) + timedelta(minutes=5)
        await world.enqueue("code", expires_at=soon)
        await world.run_until(Stage.RETRYING)
        await world.later(minutes=7)
        await world.run_until(Stage.EXPIRED)
        record = await world.record("code")
        assert (record.row["r"], record.row["c"]) == ("expired", "20003")
        assert ["expiry", "deny", "account_paused"] in record.timeline[-1]["trace"]


async def test_a_refused_connection_is_proven_not_sent_and_tried_again(
    store: Place, tmp_path: Path
) -> None:
    """A refused connection uses no try and ends nothing."""
    async with dispatching(store, tmp_path / "j") as world:
        await world.consents()
        await world.writes()
        await world.enqueue()
        working = world.client._accounts["main"]
        gone = replace(working, messages=working.messages.with_port(1))
        world.client._accounts["main"] = gone
        async with world.working():
            await world.watch.until(lambda: (Stage.RETRYING, Reason.NOT_SENT) in world.watch.stages)
            world.client._accounts["main"] = working
            await world.later(seconds=30)
            await world.watch.until(lambda: (Stage.ACCEPTED, Reason.ACCEPTED) in world.watch.stages)
        assert len(world.twilio.posts) == 1


async def test_a_late_reply_is_evidence_for_its_own_attempt(store: Place, tmp_path: Path) -> None:
    """A worker that lost its lease during the POST still proves the outcome of its attempt."""
    gate = asyncio.Event()
    asked = asyncio.Event()

    async def slow(twilio: Twilio, form: dict[str, str]) -> web.StreamResponse:
        asked.set()
        await gate.wait()
        return await accepting(twilio, form)

    async with dispatching(store, tmp_path / "j", slow) as world:
        await world.consents()
        await world.writes()
        await world.enqueue(on_unknown=OnUnknown.HOLD)
        async with world.working():
            await asked.wait()
            await world.later(seconds=60)
            await world.store.ledger.reap(10)  # unless the worker itself was faster
            assert await world.stage() == "unknown"
            gate.set()
            await world.watch.until(lambda: (Stage.ACCEPTED, Reason.ACCEPTED) in world.watch.stages)
        record = await world.record()
        assert (record.row["s"], record.row["sid"], record.row["r"]) == (
            "accepted",
            sid(1),
            "evidence_late_reply",
        )


async def test_media_and_messenger_go_out_too(store: Place, tmp_path: Path) -> None:
    """A Page's freeform with a media URL goes out in the open window."""
    async with dispatching(store, tmp_path / "j") as world:
        await world.store.people.apply_inbound([Inbound(sid(77), "page", "main", MIA)])
        wish = Freeform(body="see", media_url="https://example.com/a.png")
        await world.enqueue(to=MIA, sender="page", purpose=Purpose.REPLY, freeform=wish)
        await world.run_until(Stage.ACCEPTED)
        (form,) = world.twilio.posts
        assert (form["To"], form["MediaUrl"]) == (MIA, "https://example.com/a.png")
