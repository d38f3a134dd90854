"""Facts that change between decision and admission are decided on again."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sendwindow.contract import Template
from sendwindow.vocabulary import Purpose, Reason, Stage
from tests.support.cast import MIA
from tests.support.pipeline_world import (
    Between,
    World,
    dispatching,
)
from tests.support.stores_world import Place
from worker.ports.admissions import Admission, AdmitRequest
from worker.ports.claims import ClaimBatch
from worker.ports.effects import Effect, OptOut, SetTag, SuppressAddress
from worker.ports.settlements import SettleAgain, Settlement

pytestmark = pytest.mark.asyncio


class Flipping(Between):
    """Does something before the first admission: after the decision and before the permit."""

    def __init__(self, world: World, change: Callable[[], Awaitable[object]]) -> None:
        super().__init__(world)
        self._change: Callable[[], Awaitable[object]] | None = change

    async def admit(self, requests: Sequence[AdmitRequest]) -> list[Admission]:
        change, self._change = self._change, None
        if change is not None:
            await change()
        return await self._ledger.admit(requests)


async def learn(world: World, effect: Effect) -> None:
    """Record effects of another attempt to the same person."""
    batch: ClaimBatch = await world.store.ledger.claim(1)
    (other,) = batch.claimed
    again = SettleAgain(Stage.RETRYING, Reason.NOT_SENT, delay_ms=3_600_000)
    facts = other.facts
    await world.store.ledger.settle(
        [
            Settlement(
                message_id=other.message_id,
                fence=other.fence,
                attempt=0,
                result=again,
                person_digest=facts.person_digest,
                sender="page" if isinstance(effect, SetTag) else "shop",
                account="main",
                effects=(effect,),
            )
        ]
    )


FLIPS: list[Any] = [
    pytest.param(lambda w: w.writes(keyword="stop"), "refused", "opted_out", id="stop"),
    pytest.param(
        lambda w: w.consents(granted=False), "refused", "opted_out", id="consent-withdrawn"
    ),
    pytest.param(
        lambda w: w.later(hours=23, minutes=59),
        "refused",
        None,
        id="window-closed-and-expired-soon",
    ),
    pytest.param(lambda w: w.later(hours=24), "expired", "expired", id="expired"),
    pytest.param(
        lambda w: w.store.switches.pause("sender", "shop", timedelta(hours=1), "test"),
        "waiting",
        "sender_paused",
        id="sender-paused",
    ),
    pytest.param(
        lambda w: w.store.switches.pause("account", "main", timedelta(hours=1), "test"),
        "waiting",
        "account_paused",
        id="account-paused",
    ),
    pytest.param(
        lambda w: w.producer.pause_campaign("shop", "spring"),
        "waiting",
        "campaign_paused",
        id="campaign-paused",
    ),
    pytest.param(lambda w: w.producer.cancel("m1"), "cancelled", "cancelled", id="cancelled"),
    pytest.param(
        lambda w: w.producer.cancel_campaign("shop", "spring"),
        "cancelled",
        "cancelled",
        id="campaign-cancelled",
    ),
    pytest.param(
        lambda w: learn(w, OptOut(sender_only=True, evidence="test")),
        "refused",
        "opted_out",
        id="provider-opt-out",
    ),
    pytest.param(
        lambda w: learn(w, SuppressAddress(600, "test")),
        "refused",
        "address_suppressed",
        id="suppressed",
    ),
]


@pytest.mark.parametrize("flip, stage, reason", FLIPS)
async def test_a_fact_that_changes_between_decide_and_admit_lets_no_post_leave(
    store: Place,
    tmp_path: Path,
    flip: Callable[[World], Awaitable[object]],
    stage: str,
    reason: str | None,
) -> None:
    """A permit is granted only while the facts of the decision still hold.

    Otherwise the message is decided again, or ends.
    """
    async with dispatching(store, tmp_path / "j") as world:
        await world.consents()
        await world.writes()
        await world.later(minutes=1)
        await world.enqueue(campaign="spring")
        ledger = Flipping(world, lambda: flip(world))
        if "learn" in flip.__code__.co_names:
            # Meanwhile another worker claims another message of the same person.
            ledger = Flipping(world, lambda: _with_other(world, flip))
        await world.run_until(Stage(stage), ledger=ledger)
        decided = [
            line["decision"]
            for line in world.journaled()
            if line["e"] == "decided" and line["id"] == "m1"
        ]
        assert decided[0] == "send"
        assert world.twilio.posts == []
        assert await world.stage() == stage
        if reason is not None:
            assert await world.reason() == reason


async def _with_other(world: World, flip: Callable[[World], Awaitable[object]]) -> None:
    await world.enqueue("other")
    await flip(world)


async def test_a_window_that_closes_after_the_decision_makes_it_a_template(
    store: Place, tmp_path: Path
) -> None:
    """If the window closes after a decision, the message is decided again and its template goes
    out.
    """
    async with dispatching(store, tmp_path / "j") as world:
        await world.consents()
        await world.writes()
        await world.later(minutes=1)
        template = Template(name="order", language="en", variables={"1": "A-1"})
        expires_at = (await world.store.now()) + timedelta(days=3)
        await world.enqueue(template=template, expires_at=expires_at)
        await world.run_until(Stage.ACCEPTED, ledger=Flipping(world, lambda: world.later(hours=24)))
        (form,) = world.twilio.posts
        assert "Body" not in form
        assert form["ContentSid"] == "HX" + "0" * 32


async def test_a_template_that_is_paused_after_the_decision_is_not_sent(
    store: Place, tmp_path: Path
) -> None:
    """A template that an error paused after the decision gets no permit."""

    async def pause_template(world: World) -> None:
        key = world.store.keys.template("HX" + "0" * 32)
        await world.redis.hset(key, mapping={"state": "paused", "reason": "code 63041"})
        await world.redis.hincrby(key, "r", 1)

    async with dispatching(store, tmp_path / "j") as world:
        await world.consents()
        await world.enqueue(
            freeform=None, template=Template(name="order", language="en", variables={"1": "A-1"})
        )
        await world.run_until(Stage.REFUSED, ledger=Flipping(world, lambda: pause_template(world)))
        assert await world.reason() == "template_paused"
        assert world.twilio.posts == []


async def test_a_tag_that_dies_after_the_decision_is_not_relied_on(
    store: Place, tmp_path: Path
) -> None:
    """Outside the window a Messenger attempt gets no permit if the Page's breaker has opened."""

    async def kill_tag(world: World) -> None:
        key = world.store.keys.tag_state("page")
        await world.redis.hset(key, mapping={"state": "dead", "reason": "code 63016"})
        await world.redis.hincrby(key, "r", 1)

    async with dispatching(store, tmp_path / "j") as world:
        await world.writes(MIA, "page")
        await world.later(hours=25)
        await world.consents(MIA)
        await world.enqueue(to=MIA, sender="page", purpose=Purpose.ACCOUNT_UPDATE)
        await world.run_until(Stage.REFUSED, ledger=Flipping(world, lambda: kill_tag(world)))
        assert await world.reason() == "account_update_dead"
        assert world.twilio.posts == []


class Fidgeting(Between):
    """The person writes before every admission, so that no decision lasts."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._world = world

    async def admit(self, requests: Sequence[AdmitRequest]) -> list[Admission]:
        await self._world.writes()
        return await self._ledger.admit(requests)


async def test_a_message_whose_facts_never_rest_is_given_back(store: Place, tmp_path: Path) -> None:
    """An attempt decides a bounded number of times, and then gives its slot to another message."""
    async with dispatching(store, tmp_path / "j") as world:
        await world.consents()
        await world.writes()
        await world.enqueue()
        async with world.working(ledger=Fidgeting(world)):
            await world.watch.until(
                lambda: (Stage.QUEUED, Reason.FACTS_CHANGED) in world.watch.stages
            )
        assert world.twilio.posts == []
