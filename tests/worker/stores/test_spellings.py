"""One person under several digests: window, consent, cap, permits and waiting messages are
shared.
"""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies.consent import Standing
from sendwindow.scripts import Script
from sendwindow.vocabulary import Purpose
from tests.depth import examples
from tests.policies.test_spellings import ALIKE, numbers
from tests.support.spellings_world import (
    BOTH_WAYS,
    DIGESTS,
    LASTING,
    ONE,
    OTHER,
    PLAIN,
    STEPS,
    grant,
    has_window,
    standing,
    take,
)
from tests.support.stores_world import (
    ACCOUNT,
    REFUSED,
    SENDER,
    WAITS,
    Place,
    opened,
)
from worker.persons import SPELLINGS
from worker.ports.admissions import Permit, Stale
from worker.ports.effects import CloseWindow, OptOut, SuppressAddress
from worker.stores.worker_scripts import SOURCES

pytestmark = pytest.mark.asyncio


# -- the same in Lua ----------------------------------------------------------------------------


@settings(
    max_examples=examples(200),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(
        st.one_of(
            numbers(),
            st.text(max_size=20),
            st.sampled_from([*map("".join, ALIKE), "whatsapp:US.1a"]),
        )
    )
)
async def test_lua_finds_the_spellings_that_python_finds(
    store: Place, addresses: list[str]
) -> None:
    """Lua and Python find the same spellings for any text, from one table of data."""
    async with opened(store) as world:
        body = (
            "-- include: spellings\nlocal out = {}\n"
            "for at, one in ipairs(ARGV) do out[at] = spellings_of(one) end\nreturn out"
        )
        source = SOURCES.assemble_text("test", body)
        found = await world.calls.run(Script("test", f"#!lua\n{source}"), addresses)
        assert [tuple(one.decode() for one in each) for each in found] == [
            SPELLINGS.persons_of(one) for one in addresses
        ]


@pytest.mark.parametrize("one, other", BOTH_WAYS)
async def test_a_claim_digests_the_canonical_spelling(store: Place, one: str, other: str) -> None:
    """A claim computes the digest of the canonical spelling itself."""
    async with opened(store) as world:
        await world.enqueue(to=one)
        facts = (await world.claim_one()).facts
        assert (
            facts.person_digest
            == world.store.people.digest(other)
            == world.store.people.digest(one)
        )
        assert f"{facts.person_digest} {facts.other_digests}" == DIGESTS.persons_of(other)


# -- one release ---------------------------------------------------------------------------------


@pytest.mark.parametrize("one, other", BOTH_WAYS)
async def test_a_stop_stops_every_spelling(store: Place, one: str, other: str) -> None:
    """A STOP under one spelling stops consent that was given under the other."""
    async with opened(store) as world:
        await grant(world, one)
        assert await standing(world, other) is Standing.GRANTED
        await world.enqueue(to=one)
        claimed = await world.claim_one()
        assert (await world.writes(keyword="stop", address=other)).opted == "stop"
        assert isinstance(await world.admit(claimed), Stale)
        assert await standing(world, one) is Standing.OPTED_OUT
        await world.later(seconds=1)
        assert (await world.writes("SM2", keyword="start", address=one)).opted == "start"
        assert await standing(world, other) is Standing.GRANTED


@pytest.mark.parametrize("one, other", BOTH_WAYS)
async def test_an_inbound_opens_the_window_of_every_spelling(
    store: Place, one: str, other: str
) -> None:
    """An inbound under one spelling opens the window of all, and releases messages that wait."""
    async with opened(store) as world:
        await world.enqueue(to=one)
        await world.settle(await world.claim_one(), WAITS, attempt=0, posted=False)
        applied = await world.writes(address=other)
        assert (applied.first, applied.released) == (True, 1)
        claimed = await world.claim_one()
        assert claimed.facts.person.last_inbound_at is not None
        assert await has_window(world, one)


async def test_an_inbound_is_one_under_every_spelling(store: Place) -> None:
    """An inbound repeated under another spelling is no second one, even after its key lapsed."""
    async with opened(store) as world:
        assert (await world.writes("SM1", address=ONE)).first
        await world.redis.delete(world.keys.inbound_seen("SM1"))
        assert not (await world.writes("SM1", address=OTHER)).first


async def test_permits_and_cap_are_the_persons(store: Place) -> None:
    """A STOP under one spelling waits for a POST to the other, and caps count both."""
    async with opened(store, tuning=LASTING) as world:
        await world.enqueue("m1", to=ONE)
        await world.enqueue("m2", to=OTHER)
        first, second = await world.claim()
        assert isinstance(await world.admit(first, person_cap=1), Permit)
        assert isinstance(await world.admit(second, person_cap=1), Stale)
        applied = await world.writes(keyword="stop", address=OTHER)
        assert applied.open_permits_ms > 0
        assert await world.store.people.permits_left_ms(applied.person_digest) > 0
        assert (
            await world.store.people.facts(OTHER, SENDER, ACCOUNT, None)
        ).person.sent_last_day == 1


async def test_unproven_attempts_are_rivals_under_every_spelling(store: Place) -> None:
    """An unproven attempt to another spelling is a rival for rows of Twilio's list."""
    async with opened(store) as world:
        await world.park("m1", to=ONE)
        await world.park("m2", to=OTHER)
        since = await world.store.now() - timedelta(hours=1)
        rivals = await world.store.unknowns.rivals(world.store.people.digest(OTHER), "m2", since)
        assert rivals is not None
        assert [rival.message_id for rival in rivals] == ["m1"]


async def test_what_an_error_teaches_counts_for_every_spelling(store: Place) -> None:
    """A provider's stop, a closed window and an unusable address count for every spelling."""
    async with opened(store) as world:
        await grant(world, ONE)
        await world.writes(address=OTHER)
        await world.later(seconds=1)
        claimed = await world.post(to=ONE)
        taught = (
            CloseWindow(),
            OptOut(sender_only=False, evidence="21610"),
            SuppressAddress(3_600, "21211"),
        )
        await world.settle(claimed, REFUSED, effects=taught)
        person = (await world.store.people.facts(OTHER, SENDER, ACCOUNT, None)).person
        assert person.closed_at is not None
        assert person.suppressed_until is not None
        assert await standing(world, OTHER) is Standing.OPTED_OUT


async def test_a_wa_id_joins_what_no_entry_knows(store: Place) -> None:
    """A WaId joins two spellings that no table entry knows.

    Benin put 01 before every number, and WhatsApp says that both numbers are one.
    """
    old, new = "whatsapp:+22961234567", "whatsapp:+2290161234567"
    async with opened(store) as world:
        await grant(world, new)
        await world.enqueue(to=new)
        waiting = await world.claim_one()
        await world.settle(waiting, WAITS, attempt=0, posted=False)
        applied = await world.writes(address=old, wa_id=new.partition("+")[2])
        assert applied.released == 1
        claimed = await world.claim_one()
        assert claimed.facts.person_digest == applied.person_digest
        assert claimed.facts.person.last_inbound_at is not None
        assert isinstance(await world.admit(claimed), Permit)
        assert (await world.writes("SM901", keyword="stop", address=new)).open_permits_ms > 0
        for address in (old, new):
            assert await standing(world, address) is Standing.OPTED_OUT
        # In the other order it is still the same person.
        assert (
            await world.writes("SM902", address=new, wa_id=old.partition("+")[2])
        ).person_digest == applied.person_digest


@settings(
    max_examples=examples(25),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(STEPS)
async def test_any_history_is_that_of_one_spelling(
    store: Place, steps: list[tuple[str, str, bool]]
) -> None:
    """A history under any spellings leaves what the same history under one spelling leaves."""
    async with opened(store) as world:
        await world.redis.flushdb()
    async with opened(store) as world:
        for number, (step, spelling, _) in enumerate(steps):
            await take(world, step, number, spelling)
        begun_at = await world.store.now()
        for number, (step, _, _) in enumerate(steps):
            await take(world, step, number, PLAIN)
        passed = await world.store.now() - begun_at
        for purpose in (Purpose.UTILITY, Purpose.MARKETING):
            found = {
                address: await standing(world, address, purpose) for address in (ONE, OTHER, PLAIN)
            }
            assert len(set(found.values())) == 1, found
        for sender in (SENDER, "other"):
            windows = [
                (
                    await world.store.people.facts(address, sender, ACCOUNT, None)
                ).person.last_inbound_at
                for address in (ONE, OTHER, PLAIN)
            ]
            assert windows[0] == windows[1]
            assert (windows[0] is None) == (windows[2] is None)
            if windows[0] and windows[2]:
                assert abs(windows[2] - windows[0] - passed) < timedelta(seconds=1)


async def test_one_spelling_costs_no_look_elsewhere(store: Place) -> None:
    """A claim reads only the person's own key; several spellings cost one EXISTS."""
    async with opened(store) as world:
        counted = []
        for name, address in (("m1", "whatsapp:+14155550123"), ("m2", ONE)):
            await world.enqueue(name, to=address)
            await world.redis.config_resetstat()
            await world.claim_one()
            commands = await world.redis.info("commandstats")
            names = ("exists", "hlen", "hget")
            counted.append(
                {key: commands.get(f"cmdstat_{key}", {}).get("calls", 0) for key in names}
            )
        one, several = counted
        assert several["exists"] == one["exists"] + 1
        assert (several["hlen"], several["hget"]) == (one["hlen"], one["hget"])
