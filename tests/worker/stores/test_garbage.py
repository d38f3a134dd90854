"""An unreadable stored field is unknown: it stops neither a STOP nor any other word of a person."""

from typing import Any, Final, Literal

import pytest

from policies.consent import Standing, permission
from policies.decision import SeenRevisions
from policies.facts import Holds, TagState
from policies.policy import ErrorGuard
from sendwindow.keys import Keys
from sendwindow.vocabulary import Purpose, Reason, Stage
from tests.support.cast import ANNA, BERT
from tests.support.shipped import rules
from tests.support.spellings_world import DIGESTS, ONE
from tests.support.stores_world import ACCOUNT, ORDER, SENDER, Place, opened
from worker.ports.admissions import Permit
from worker.ports.effects import (
    CloseWindow,
    Effect,
    HoldBack,
    OptOut,
    PauseAccount,
    PauseSender,
    SetTag,
    SetTemplate,
    SuppressAddress,
    WithdrawMarketing,
)
from worker.ports.people import Inbound
from worker.ports.settlements import SettleEnd

KEYWORDS: Final = ("stop", "start", "stop_marketing", "start_marketing", "suspected", None)
FIELDS: Final = (
    *(
        "r",
        "in",
        "x",
        "xr",
        "xt",
        "al",
        "sp",
        "to",
        "w:shop",
        "w:page",
        "wc:shop",
        "h:main",
        "unheard of",
        "b:main|*|x|1",
    ),
    *(
        "o:main|*",
        "o:main|shop",
        "s:main|*",
        "s:main|shop",
        "d:main|marketing|*",
        "c:main|marketing|*",
        "c:main|*|*",
    ),
    *("o:", "c:main", "d:main|", "s:|", "h:", "b:"),
)
VALUES: Final = (
    "",
    "garbage",
    "-1",
    "1e400",
    "nan",
    "1:2",
    "1:x:y,0:z:",
    "|||",
    "9" * 400,
    "\x00",
    "1.5",
)


@pytest.mark.asyncio
@pytest.mark.parametrize("field", FIELDS)
async def test_garbage_in_a_persons_record_stops_no_word(store: Place, field: str) -> None:
    """Every keyword is applied and every STOP stored, whatever the field holds."""
    async with opened(store) as world:
        people, keys = world.store.people, world.calls.keys
        redis: Any = world.redis  # redis-py annotates commands for both of its flavours at once
        for number, value in enumerate(VALUES):
            address = ANNA[:-3] + f"{number:03}"
            key = keys.person(people.digest(address))
            for keyword in KEYWORDS:
                await redis.delete(key)
                await redis.hset(key, field, value)
                sid = f"SM{number:02}{KEYWORDS.index(keyword):030}"
                [applied] = await people.apply_inbound(
                    [Inbound(sid, "shop", "main", address, keyword)]
                )
                assert applied.first
                if keyword == "stop":
                    key_now = keys.person(applied.person_digest)
                    assert await redis.hexists(key_now, "o:main|*"), (field, value)
                    assert await redis.hexists(key_now, "w:shop"), (field, value)
                    await people.facts(address, "shop", "main", None)


@pytest.mark.asyncio
@pytest.mark.parametrize("value", ["", "garbage", "a|b", "||", "a|b|c|"])
async def test_an_unreadable_mark_of_a_message_is_no_mark(store: Place, value: str) -> None:
    """If a message's mark is unreadable it counts as new: a STOP applied twice is harmless, a
    lost one is not.
    """
    async with opened(store) as world:
        sid = "SM" + "9" * 32
        await world.redis.set(world.calls.keys.inbound_seen(sid), value)
        [applied] = await world.store.people.apply_inbound(
            [Inbound(sid, "shop", "main", ANNA, "stop")]
        )
        assert (applied.first, applied.opted) == (True, "stop")


@pytest.mark.asyncio
@pytest.mark.parametrize("value", VALUES)
async def test_a_suspected_stop_that_cannot_be_read_is_listed_and_decided(
    store: Place, value: str
) -> None:
    """An unreadable suspected stop holds marketing, and an operator can list and decide it."""
    async with opened(store) as world:
        people, redis = world.store.people, world.redis
        await people.apply_inbound([Inbound("SM" + "9" * 32, "shop", "main", ANNA, "suspected")])
        await redis.hset(world.calls.keys.person(people.digest(ANNA)), "h:main", value)  # type: ignore[misc]  # redis-py 5
        [stop] = [one async for one in people.suspected()]
        assert await people.decide_suspected([stop], "marketing", ["shop"]) == [0]
        assert [one async for one in people.suspected()] == []


FAILED: Final = SettleEnd(Stage.FAILED, Reason.PROVIDER_REFUSED, 63024)
GUARD: Final = ErrorGuard(attempts=20, most_percent=50, most_errors=20)
EFFECTS: Final[tuple[Effect, ...]] = (
    PauseSender(60, "code 63018"),
    PauseAccount(60, "code 20003"),
    SetTemplate("paused", "code 63041", 60),
    SetTag("dead", "code 63037"),
    CloseWindow(),
    SuppressAddress(3600, "code 63024", guard=GUARD),
    HoldBack(
        Holds.ALL_BUT_REPLIES,
        Holds.MARKETING,
        0,
        until_inbound=True,
        sender_only=False,
        code=63014,
        guard=GUARD,
    ),
    WithdrawMarketing("131050"),
    OptOut(sender_only=False, evidence="21610", suspends_grants=True),
)
"""One effect of each kind."""

STORED: Final = (
    *(
        ("person", field)
        for field in ("x", "xt", "xr", "wc:shop", "w:shop", "al", "r", "sp", "o:main|*", "s:main|*")
    ),
    *(("person", f"b:main|*|{holds}|63014") for holds in ("all_but_replies", "x")),
    *(
        (kind, field)
        for kind in ("sender", "account", "template")
        for field in ("until", "state", "reason", "r", "at")
    ),
    *(("tag_state", field) for field in ("until", "state", "message", "r")),
    ("sender", "n"),
)


def _key(keys: Keys, kind: str, digest: str) -> str:
    names = {
        "person": digest,
        "sender": SENDER,
        "account": ACCOUNT,
        "template": ORDER,
        "tag_state": SENDER,
    }
    found: str = getattr(keys, kind)(names[kind])
    return found


@pytest.mark.asyncio
@pytest.mark.parametrize("kind, field", STORED)
async def test_garbage_keeps_no_effect_from_being_applied(
    store: Place, kind: str, field: str
) -> None:
    """Whatever a field holds, the attempt is settled and all effects of its error apply."""
    async with opened(store) as world:
        people, keys, redis = world.store.people, world.calls.keys, world.redis
        for number, value in enumerate(VALUES):
            address = ANNA[:-3] + f"{number:03}"
            await world.enqueue(f"m{number}", to=address, template="order_update")
            claimed = await world.claim_one()
            seen = claimed.facts
            revisions = SeenRevisions(
                seen.person.revision,
                seen.sender.revision,
                seen.account.revision,
                seen.template.revision,
            )
            assert isinstance(
                await world.admit(claimed, template=ORDER, seen=revisions, relies_on_tag=True),
                Permit,
            )
            await redis.hset(_key(keys, kind, people.digest(address)), field, value)  # type: ignore[misc]  # redis-py types both flavours at once
            settled = await world.settle(claimed, FAILED, effects=EFFECTS, template=ORDER)
            assert (settled.applied, settled.stage) == (True, Stage.FAILED), value
            now, facts = (
                await world.store.now(),
                await people.facts(address, SENDER, ACCOUNT, ORDER),
            )
            person, tag = facts.person, facts.tag
            for ends in (
                facts.sender.paused_until,
                facts.account.paused_until,
                person.suppressed_until,
            ):
                assert ends is not None
                assert ends > now, value
            assert person.closed_at is not None
            assert person.blocks or not person.is_readable
            assert (
                permission(person, Purpose.UTILITY, SENDER, rules().policy, now).standing
                is Standing.OPTED_OUT
            )
            assert (facts.template.state, tag.state) == ("paused", TagState.DEAD), value
            for thing in ("sender", "account", "template", "tag_state"):
                await redis.hdel(_key(keys, thing, ""), "until", "state", "reason", "r")  # type: ignore[misc]  # as above


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["sender", "account"])
@pytest.mark.parametrize("value", [*VALUES, "inf", "1e30", "0x7f", "-5"])
async def test_an_unreadable_pause_holds_its_messages_and_no_others(
    store: Place, kind: Literal["sender", "account"], value: str
) -> None:
    """An unreadable pause holds its own messages until an operator's `resume`.

    Facts and claims agree on it.
    """
    async with opened(store) as world:
        await world.store.register_senders({"elsewhere": "second"}, {})
        key = _key(world.calls.keys, kind, "")
        await world.redis.hset(key, "until", value)  # type: ignore[misc]  # redis-py types both flavours at once
        await world.enqueue("held")
        await world.enqueue("free", to=BERT, sender="elsewhere")
        assert [one.message_id for one in await world.claim()] == ["free"]
        facts = await world.store.people.facts(ANNA, SENDER, ACCOUNT, None)
        paused_until = facts.sender.paused_until if kind == "sender" else facts.account.paused_until
        assert paused_until is not None
        assert paused_until > await world.store.now()
        assert await world.store.switches.resume(kind, SENDER if kind == "sender" else ACCOUNT)
        assert [one.message_id for one in await world.claim()] == ["held"]


@pytest.mark.asyncio
@pytest.mark.parametrize("value", VALUES)
async def test_what_errors_taught_and_cannot_be_read_ends_by_an_operators_word(
    store: Place, value: str
) -> None:
    """An unreadable effect ends by an operator's word, not by an inbound.

    It may be of a kind that no inbound ends.
    """
    async with opened(store) as world:
        people = world.store.people
        key, block = world.calls.keys.person(people.digest(ANNA)), "b:main|*|marketing|63049"
        await world.redis.hset(key, block, value)  # type: ignore[misc]  # redis-py types both flavours at once
        await world.writes("SM1")
        assert await world.redis.hexists(key, block)  # type: ignore[misc]  # redis-py types both flavours at once
        assert await people.allow(ANNA) == 1
        assert not await world.redis.hexists(key, block)  # type: ignore[misc]  # redis-py types both flavours at once
        assert (await people.facts(ANNA, SENDER, ACCOUNT, None)).person.is_readable


@pytest.mark.asyncio
@pytest.mark.parametrize("value", VALUES[1:])
async def test_a_suppression_that_cannot_be_read_outlasts_another_spellings(
    store: Place, value: str
) -> None:
    """An unreadable suppression outlasts a readable one in a merge, and an unreadable revision
    does not raise.
    """
    names = DIGESTS.persons_of(ONE).split()
    async with opened(store) as world:
        people, keys, redis = world.store.people, world.calls.keys, world.redis
        for holder, other in (names[:2], names[1::-1]):
            await redis.delete(*map(keys.person, names))
            await redis.hset(
                keys.person(holder), mapping={"x": value, "xr": "a newer code", "r": value}
            )  # type: ignore[misc]  # redis-py types both flavours at once
            await redis.hset(
                keys.person(other), mapping={"x": "1", "xr": "code 63024", "w:shop": "1"}
            )  # type: ignore[misc]  # as above
            await world.enqueue(holder, to=ONE)
            assert [one.message_id for one in await world.claim()] == [holder]
            assert not await redis.hexists(keys.person(names[1]), "x")  # type: ignore[misc]  # as above
            person = (await people.facts(ONE, SENDER, ACCOUNT, None)).person
            assert person.suppressed_for == "a newer code"
            assert person.suppressed_until is not None
            assert person.suppressed_until > await world.store.now()
