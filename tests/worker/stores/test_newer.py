"""Data of a newer version, or damaged data, denies the message that it concerns, and no batch
raises.
"""

from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from policies.consent import Standing, permission
from policies.facts import TagState
from sendwindow.timestamps import from_ms
from sendwindow.vocabulary import OnUnknown, Purpose, Stage
from tests.support.cast import ANNA, BERT
from tests.support.shipped import rules
from tests.support.stores_world import (
    ACCOUNT,
    ORDER,
    SENDER,
    Place,
    World,
    accepted,
    opened,
    settlement,
)
from worker.ports.claims import ClaimedMessage, Suspects
from worker.ports.people import ConsentEntry
from worker.stores.fact_parsing import parse_facts, read_rule


async def _claim_both(world: World) -> tuple[ClaimedMessage, ClaimedMessage]:
    """Claim one message to Anna and one to Bert in one batch."""
    await world.enqueue("anna", to=ANNA, template="order_update")
    await world.enqueue("bert", to=BERT, sender="other")
    by_id = {one.message_id: one for one in await world.claim()}
    return by_id["anna"], by_id["bert"]


async def _standing(
    world: World, claimed: ClaimedMessage, purpose: Purpose = Purpose.UTILITY
) -> Standing:
    return permission(
        claimed.facts.person, purpose, SENDER, rules().policy, await world.store.now()
    ).standing


GRANTED, DENIED = Standing.GRANTED, Standing.OPTED_OUT


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "name, value, standing",
    [
        ("c:main|survey|*", "1:1700000000000:", GRANTED),
        ("c:main|survey|*", "0:1700000000000:", DENIED),
        ("d:main|survey|*", "1700000000000", DENIED),
        ("d:main|utility|*", "yesterday", DENIED),
        ("d:main|utility|*|de", "1700000000000", DENIED),
        ("o:main|*", "yesterday", DENIED),
        ("o:main|shop", "", DENIED),
        ("o:main|other", "yesterday", GRANTED),
        ("c:main|reply|*", "2:1700000000000:", DENIED),
        ("c:main|reply|*", "1:1700000000000:,2:1", DENIED),
        ("c:main|reply|*", "1:yesterday:", GRANTED),
        ("c:main|reply|*|de", "1:1700000000000:", GRANTED),
        ("c:main|reply|*|de", "0:1700000000000:", DENIED),
        ("h:main|utility|*", "1:1700000000000:", DENIED),
        ("h:another|utility|*", "1700000000000", GRANTED),
        ("s:main|*", "yesterday", GRANTED),
        ("z", "anything", GRANTED),
        ("o:main|*", "9" * 400, DENIED),
    ],
)
async def test_what_may_be_a_withdrawal_permits_nothing_and_what_may_be_a_grant_grants_nothing(
    store: Place, name: str, value: str, standing: Standing
) -> None:
    """For one person, a possible withdrawal permits nothing, and a possible grant grants nothing.

    A grant that this version knows counts where no withdrawal may cover it.
    """
    async with opened(store) as world:
        grant = ConsentEntry(True, ACCOUNT, "utility", None, "form")
        for address in (ANNA, BERT):
            await world.store.people.record_consent(address, grant)
        await world.redis.hset(world.keys.person(world.store.people.digest(ANNA)), name, value)  # type: ignore[misc]  # redis-py types both flavours at once
        anna, bert = await _claim_both(world)
        assert await _standing(world, anna) is standing
        assert await _standing(world, bert) is GRANTED
        # The next record does not raise either, and keeps what this version cannot read.
        await world.store.people.record_consent(ANNA, grant, after_stop=True)
        await world.writes("SM1", "start")
        await world.writes("SM2", "stop")
        assert (await world.store.people.facts(ANNA, SENDER, ACCOUNT, None)).person.consents


@pytest.mark.asyncio
async def test_a_person_with_an_unreadable_record_is_refused(store: Place) -> None:
    """A person with an unreadable record is refused by the rule that needs the person.

    Even a confirmation of a stop is refused.
    """
    async with opened(store) as world:
        await world.redis.hset(
            world.keys.person(world.store.people.digest(ANNA)), "o:main|*", "yesterday"
        )  # type: ignore[misc]  # redis-py types both flavours at once
        anna, _ = await _claim_both(world)
        assert not anna.facts.person.is_readable


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "name, value, forbids",
    [
        ("w:shop", "yesterday", lambda person, now: person.last_inbound_at is None),
        ("wc:shop", "yesterday", lambda person, now: person.closed_at > now + timedelta(days=999)),
        ("x", "next year", lambda person, now: person.suppressed_until > now + timedelta(days=999)),
        ("r", "many", lambda person, now: person.revision == -1),
    ],
)
async def test_a_damaged_fact_of_a_person_forbids(
    store: Place, name: str, value: str, forbids: object
) -> None:
    """A damaged fact forbids: no window, a closed one, an endless suppression, a revision never
    admitted.
    """
    assert callable(forbids)
    async with opened(store) as world:
        await world.redis.hset(world.keys.person(world.store.people.digest(ANNA)), name, value)  # type: ignore[misc]  # redis-py types both flavours at once
        anna, bert = await _claim_both(world)
        assert forbids(anna.facts.person, await world.store.now())
        assert bert.facts.person.last_inbound_at is None


@pytest.mark.asyncio
async def test_states_that_only_a_newer_version_knows_raise_nothing(store: Place) -> None:
    """Unknown states of sender, account, template and tag do not stop a claim.

    Each state is reported or denies the message.
    """
    async with opened(store) as world:
        keys = world.keys
        await world.redis.hset(keys.sender(SENDER), mapping={"until": "soon", "reason": "storm"})  # type: ignore[misc]  # redis-py types both flavours at once
        await world.redis.hset(keys.template(ORDER), mapping={"state": "quarantined"})  # type: ignore[misc]  # redis-py types both flavours at once
        await world.redis.hset(
            keys.tag_state(SENDER), mapping={"state": "shadow", "message": "m9", "until": "x"}
        )  # type: ignore[misc]  # redis-py types both flavours at once
        facts = await world.store.people.facts(ANNA, SENDER, ACCOUNT, ORDER)
        now = await world.store.now()
        assert facts.sender.paused_until is not None
        assert facts.sender.paused_until > now
        assert facts.template.state == "quarantined"
        assert (facts.tag.state, facts.tag.in_flight) == (TagState.DEAD, True)
        await world.enqueue("bert", to=BERT, sender="other")
        await world.enqueue("anna")
        assert [one.message_id for one in await world.claim()] == ["bert"]


@pytest.mark.asyncio
async def test_a_rule_that_only_a_newer_version_knows_is_a_persons_decision(store: Place) -> None:
    """A message with an unknown rule is claimed with its batch and left to an operator."""
    async with opened(store) as world:
        await world.enqueue("anna")
        await world.enqueue("bert", to=BERT)
        await world.redis.hset(world.keys.row("anna"), "u", "ask_the_person")  # type: ignore[misc]  # redis-py types both flavours at once
        assert {one.message_id for one in await world.claim()} == {"anna", "bert"}
    assert read_rule(b"ask_the_person") is read_rule(b"") is OnUnknown.HOLD


@pytest.mark.asyncio
async def test_a_stage_that_only_a_newer_version_knows_raises_for_no_batch(store: Place) -> None:
    """In a batch of two settlements, a message in an unknown stage is skipped and the other one
    is settled.
    """
    async with opened(store) as world:
        claimed = [await world.post("anna"), await world.post("bert", to=BERT)]
        await world.redis.hset(world.keys.row("anna"), "s", "parked")  # type: ignore[misc]  # redis-py types both flavours at once
        settled = await world.store.ledger.settle(
            [settlement(one, accepted(f"SM{one.message_id}")) for one in claimed]
        )
        assert [one.stage for one in settled] == [None, Stage.ACCEPTED]
        assert await world.store.ledger.release(
            [(one.message_id, one.fence) for one in claimed]
        ) == [
            None,
            Stage.ACCEPTED,
        ]


async def _park(world: World, message_id: str) -> None:
    """Give a message a stage that only a newer version knows."""
    await world.redis.hset(world.keys.row(message_id), "s", "parked")  # type: ignore[misc]  # redis-py types both flavours at once


@pytest.mark.asyncio
@pytest.mark.parametrize("is_suspect", [False, True], ids=["lane", "suspect"])
async def test_a_message_in_a_stage_that_only_a_newer_version_knows_keeps_its_place(
    store: Place, *, is_suspect: bool
) -> None:
    """A message in an unknown stage is neither claimed nor lost, and is reported once.

    When its own version queues it, it is claimed.
    """
    async with opened(store) as world:
        await world.enqueue("anna")
        lane = world.keys.lane((await world.row("anna"))["l"])
        if is_suspect:
            await world.redis.zrem(lane, "anna")
            await world.redis.zadd(world.keys.suspects, {"anna": 1})
        await _park(world, "anna")
        batches = [await world.store.ledger.claim(10, Suspects.FIRST)]
        for _ in range(2):
            await world.later(seconds=61)
            batches.append(await world.store.ledger.claim(10, Suspects.FIRST))
        assert [batch.claimed for batch in batches] == [(), (), ()]
        assert [batch.in_unknown_stage for batch in batches] == [("anna",), (), ()]
        assert all(
            batch.next_due_at is not None and batch.next_due_at > batch.now for batch in batches
        )
        assert await world.count("unknown_stage") == 1
        assert await world.redis.zcard(lane) == 1
        await world.redis.hset(world.keys.row("anna"), "s", "queued")  # type: ignore[misc]  # redis-py types both flavours at once
        await world.later(seconds=61)
        assert [one.message_id for one in await world.claim()] == ["anna"]


@pytest.mark.asyncio
async def test_many_messages_in_unknown_stages_starve_none_behind_them(store: Place) -> None:
    """Many messages in unknown stages at the front of a lane do not hide the message behind
    them.
    """
    async with opened(store) as world:
        for number in range(30):
            await world.enqueue(f"m{number}")
            await _park(world, f"m{number}")
        await world.enqueue("last")
        assert [one.message_id for one in await world.claim(1)] == ["last"]
        assert await world.count("unknown_stage") == 30


@pytest.mark.asyncio
async def test_an_unknown_stage_does_not_expire_while_its_sender_is_paused(store: Place) -> None:
    """A message in an unknown stage does not expire while its sender is paused, because this
    version cannot judge it.
    """
    async with opened(store) as world:
        await world.enqueue("anna")
        await world.enqueue("bert", to=BERT)
        await _park(world, "anna")
        await world.store.switches.pause("sender", SENDER, timedelta(days=60), "a test")
        await world.later(days=30)
        assert await world.claim() == ()
        assert [one.message_id for one in await world.claim()] == ["bert"]
        assert (await world.row("anna"))["s"] == "parked"


@pytest.mark.asyncio
async def test_a_message_that_is_elsewhere_is_taken_out_of_a_lane(store: Place) -> None:
    """A message whose known stage belongs in no lane is taken out of its lane."""
    async with opened(store) as world:
        for stage in sorted({*Stage} - {Stage.QUEUED, Stage.WAITING, Stage.RETRYING}):
            await world.enqueue(stage)
            await world.redis.hset(world.keys.row(stage), "s", stage)  # type: ignore[misc]  # redis-py types both flavours at once
        lane = world.keys.lane((await world.row("dead"))["l"])
        assert await world.claim() == ()
        assert await world.redis.zcard(lane) == 0
        assert await world.count("unknown_stage") == 0


VALUES = (
    st.text(max_size=12).map(str.encode)
    | st.binary(max_size=12)
    | st.integers(-(2**62), 2**62).map(b"%d".__mod__)
)
NAMES = st.sampled_from(
    [
        "o:main|*",
        "o:main|shop",
        "c:main|utility|*",
        "c:main|*|shop",
        "d:main|marketing|*",
        "c:main|x|*",
        "q:main|",
        "d:",
    ]
).map(str.encode)


@given(
    st.lists(VALUES, min_size=4, max_size=4), st.lists(st.tuples(NAMES, VALUES), max_size=4), VALUES
)
@example([b"1", b"", b"", b""], [(b"c:main|utility|*", b"1:1:")], b"")
def test_no_stored_word_makes_reading_raise(
    person: list[bytes], consents: list[tuple[bytes, bytes]], word: bytes
) -> None:
    """Whatever bytes are stored, reading facts does not raise, and unreadable fields grant
    nothing.
    """
    told = [part for pair in consents for part in pair]
    state = [word, word, word, word]
    reply = [
        b"digest",
        [*person, 0, *told],
        state,
        state,
        state,
        [word, word, word],
        b"HX1",
        b"main",
        word,
        word,
    ]
    facts = parse_facts(reply)
    found = permission(facts.person, Purpose.UTILITY, "shop", rules().policy, from_ms(0))
    is_granted = any(
        value.startswith(b"1:") for name, value in consents if name.startswith(b"c:main|")
    )
    assert found.standing is not Standing.GRANTED or is_granted
