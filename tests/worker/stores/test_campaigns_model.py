"""Random orders about campaigns, compared with a plain model."""

import asyncio
from dataclasses import dataclass, field
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from sendwindow.producer import Producer
from tests.depth import examples
from tests.support.stores_world import AT_ONCE, REFUSED, SENDER, Place, World, opened

CAMPAIGNS: Final = ("spring", "summer", None)
STEPS: Final = st.lists(
    st.one_of(
        st.tuples(st.just("enqueue"), st.sampled_from(CAMPAIGNS)),
        st.tuples(st.sampled_from(["pause", "resume", "cancel"]), st.sampled_from(CAMPAIGNS[:2])),
        st.tuples(st.sampled_from(["refuse", "retry", "sweep"]), st.none()),
    ),
    min_size=5,
    max_size=40,
)


@dataclass
class Model:
    """What the orders say: `queued` and `ended` by message, and which campaigns are paused."""

    campaign_of: dict[str, str | None] = field(default_factory=dict)
    stages: dict[str, str] = field(default_factory=dict)
    paused: set[str | None] = field(default_factory=set)

    def sendable(self) -> set[str]:
        return {
            name
            for name, stage in self.stages.items()
            if stage == "queued" and self.campaign_of[name] not in self.paused
        }


async def act(world: World, producer: Producer, model: Model, word: str, name: str | None) -> None:
    if word == "enqueue":
        message_id = f"m{len(model.stages)}"
        await world.enqueue(message_id, campaign=name)
        model.campaign_of[message_id], model.stages[message_id] = name, "queued"
    elif word == "pause":
        await producer.pause_campaign(SENDER, name or "")
        model.paused.add(name)
    elif word == "resume":
        await producer.resume_campaign(SENDER, name or "")
        model.paused.discard(name)
    elif word == "cancel":
        await producer.cancel_campaign(SENDER, name or "")
        for message_id, campaign in model.campaign_of.items():
            if campaign == name and model.stages[message_id] == "queued":
                model.stages[message_id] = "cancelled"
    elif word == "sweep":
        await world.store.ledger.end_campaigns(3)
    else:
        await claim_two(world, model, word)


async def claim_two(world: World, model: Model, word: str) -> None:
    """Claim up to two messages. Those that were not cancelled could be sent."""
    for claimed in await world.claim(2):
        name = claimed.message_id
        if claimed.cancel_asked:
            assert model.stages[name] == "cancelled"
        else:
            assert name in model.sendable()
        await world.settle(
            claimed, REFUSED if word == "refuse" else AT_ONCE, attempt=0, posted=False
        )
        if not claimed.cancel_asked and word == "refuse":
            model.stages[name] = "refused"


async def check(world: World, producer: Producer, model: Model) -> None:
    for name, stage in model.stages.items():
        status = await producer.status(name)
        assert status is not None
        shown = "queued" if status.stage.value == "retrying" else status.stage.value
        assert shown == stage, name
    in_lanes = sum(
        depth
        for name, depth in (await world.store.records.depths()).items()
        if name.startswith(f"{SENDER}|")
    )
    assert int(await world.calls.ask("HGET", world.keys.queued, SENDER) or 0) == in_lanes


async def play(place: Place, steps: list[tuple[str, str | None]]) -> None:
    async with opened(place) as world, Producer(place.url, place.partition) as producer:
        await world.redis.flushdb()
        model = Model()
        for word, name in steps:
            await act(world, producer, model, word, name)
            await check(world, producer, model)
        for name in ("spring", "summer"):
            await act(world, producer, model, "resume", name)
        while await world.store.ledger.end_campaigns(3):
            pass
        for _ in range(len(model.stages) + 1):
            await claim_two(world, model, "refuse")
        assert model.sendable() == set()
        await check(world, producer, model)


def test_random_orders_about_campaigns_do_what_the_model_says(store: Place) -> None:
    """Whatever the orders are, no message of a paused or cancelled campaign is handed out to be
    sent, every reader sees what the orders say, and each other message gets its turn.
    """

    @settings(max_examples=examples(150), deadline=None)
    @given(STEPS)
    def run(steps: list[tuple[str, str | None]]) -> None:
        asyncio.run(play(store, steps))

    run()
