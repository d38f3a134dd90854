"""Records that another release wrote under other spellings of a number count at once.

They are merged when a script touches them.
"""

from contextlib import nullcontext
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings

from policies.consent import Standing, permission
from sendwindow.vocabulary import Purpose
from tests.depth import examples
from tests.support.shipped import rules
from tests.support.spellings_world import (
    BOTH_WAYS,
    DIGESTS,
    LASTING,
    ONE,
    OTHER,
    STEPS,
    another_release,
    grant,
    person_key,
    standing,
    take,
)
from tests.support.stores_world import (
    ACCOUNT,
    REFUSED,
    SENDER,
    UNKNOWN,
    WAITS,
    Place,
    accepted,
    opened,
)
from tests.worker.stores.test_repeat import Twice
from worker.ports.admissions import Stale
from worker.ports.effects import OptOut, SuppressAddress
from worker.ports.people import ConsentEntry
from worker.stores.script_runner import ScriptRunner

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize("one, other", BOTH_WAYS)
@pytest.mark.parametrize("order", ["grant-stop", "stop-grant"])
async def test_a_stop_from_before_the_upgrade_counts_for_every_spelling(
    store: Place, one: str, other: str, order: str
) -> None:
    """A grant and a STOP under two digests count together, in either order, before a merge and
    after it.
    """
    async with opened(store) as world:
        with another_release():
            for step in order.split("-"):
                await (
                    grant(world, one)
                    if step == "grant"
                    else world.writes(keyword="stop", address=other)
                )
                await world.later(seconds=1)
        # The system that recorded this grant after the stop did not know of the stop.
        expected = Standing.OPTED_OUT
        before = await world.contents()
        assert [await standing(world, address) for address in (one, other)] == [expected, expected]
        assert await world.contents() == before
        await world.enqueue(to=one)
        facts = (await world.claim_one()).facts
        found = permission(
            facts.person, Purpose.UTILITY, SENDER, rules().policy, await world.store.now()
        )
        assert found.standing is expected
        assert [await standing(world, address) for address in (one, other)] == [expected, expected]


@pytest.mark.parametrize("stopped, granted", [(ONE, OTHER), (OTHER, ONE)])
async def test_only_the_person_undoes_a_stop_from_before_the_upgrade(
    store: Place, stopped: str, granted: str
) -> None:
    """Only a START, or a grant meant to outrank the STOP, undoes it, under either spelling."""
    async with opened(store) as world:
        with another_release():
            await world.writes(keyword="stop", address=stopped)
            await world.later(seconds=1)
            await grant(world, granted)
            await world.writes("SM901", keyword="stop", address=granted)
            await world.later(seconds=1)
            await world.writes("SM902", keyword="start", address=granted)
        assert await standing(world, stopped) is Standing.GRANTED
        await world.writes("SM903", address=stopped)
        assert await standing(world, granted) is Standing.GRANTED


@pytest.mark.parametrize("revoked, granted", [(ONE, OTHER), (OTHER, ONE)])
async def test_a_purpose_withdrawn_before_the_upgrade_stays_withdrawn(
    store: Place, revoked: str, granted: str
) -> None:
    """A purpose withdrawn under one spelling stays withdrawn after an older grant under the other.

    Other purposes do not change.
    """
    withdrawal = ConsentEntry(False, ACCOUNT, Purpose.MARKETING, None, "call")
    async with opened(store) as world:
        with another_release():
            for address in (revoked, granted):
                await grant(world, address, Purpose.MARKETING)
                await grant(world, address)
            await world.later(seconds=1)
            await world.store.people.record_consent(revoked, withdrawal)
            await world.later(seconds=1)
            await grant(world, granted, Purpose.MARKETING)
        for merge in (False, True):
            if merge:
                await world.writes(address=OTHER)
            for address in (ONE, OTHER):
                assert await standing(world, address, Purpose.MARKETING) is Standing.OPTED_OUT
                assert await standing(world, address) is Standing.GRANTED
        await world.later(seconds=1)
        entry = ConsentEntry(True, ACCOUNT, Purpose.MARKETING, None, "form")
        assert await world.store.people.record_consent(ONE, entry) == "opted_out"
        assert await world.store.people.record_consent(ONE, entry, after_stop=True) == "recorded"
        assert await standing(world, OTHER, Purpose.MARKETING) is Standing.GRANTED


async def test_a_decision_made_before_a_merge_is_not_admitted_after(store: Place) -> None:
    """A STOP under the other digest between claim and admission makes the decision stale, also
    when another release's gateway wrote it.
    """
    async with opened(store) as world:
        await grant(world, ONE)
        await world.enqueue(to=ONE)
        claimed = await world.claim_one()
        with another_release():
            await world.writes(keyword="stop", address=OTHER)
        answer = await world.admit(claimed)
        assert isinstance(answer, Stale)
        found = permission(answer.facts.person, Purpose.UTILITY, SENDER, rules().policy, answer.now)
        assert found.standing is Standing.OPTED_OUT


async def test_an_older_worker_may_write_to_a_merged_record_again(store: Place) -> None:
    """What an older worker writes to a merged record is merged at the next touch, also behind a
    pointer.
    """
    async with opened(store) as world:
        with another_release():
            await grant(world, OTHER)
        await world.writes("SM1", address=ONE)
        to = await world.redis.hget(person_key(world, OTHER), "to")  # type: ignore[misc]  # redis-py types both flavours
        assert to == DIGESTS.digest(ONE).encode()
        with another_release():
            await world.writes("SM2", keyword="stop", address=OTHER)
        assert await standing(world, ONE) is Standing.OPTED_OUT
        await world.enqueue(to=ONE)
        await world.claim_one()
        assert await world.redis.hlen(person_key(world, OTHER)) == 2  # type: ignore[misc]  # redis-py types both flavours at once
        assert await standing(world, OTHER) is Standing.OPTED_OUT


async def test_an_older_worker_is_not_admitted_by_what_a_merge_left(store: Place) -> None:
    """An older worker gets no permit by a merged record, because the merge raised its revision."""
    async with opened(store) as world:
        with another_release():
            await grant(world, OTHER)
            await world.enqueue(to=OTHER)
            claimed = await world.claim_one()
        await world.writes(keyword="stop", address=ONE)
        with another_release():
            assert isinstance(await world.admit(claimed), Stale)


async def test_everything_else_of_a_person_is_merged(store: Place) -> None:
    """A merge keeps the latest window of each sender, the longer suppression, the marks and the
    ledger.
    """
    async with opened(store) as world:
        with another_release():
            for number, address in enumerate((OTHER, ONE)):
                await grant(world, address)
                await world.writes(f"SM{number}", address=address, sender=(SENDER, "other")[number])
                await world.later(seconds=1)
                claimed = await world.post(f"m{number}", to=address)
                await world.settle(claimed, accepted(f"SMa{number}"))
                await world.enqueue(f"n{number}", to=address)
                capped = await world.claim_one()
                await world.admit(capped, person_cap=9)
                suppressed = SuppressAddress(3_600 * (2 - number), f"2121{number}")
                await world.settle(capped, REFUSED, effects=(suppressed,), posted=True)
                await world.later(seconds=60)
        facts = (await world.store.people.facts(OTHER, SENDER, ACCOUNT, None)).person
        await grant(world, OTHER)
        merged = (await world.store.people.facts(OTHER, SENDER, ACCOUNT, None)).person
        assert (merged.last_inbound_at, merged.suppressed_until) == (
            facts.last_inbound_at,
            facts.suppressed_until,
        )
        assert (
            await world.store.people.facts(ONE, "other", ACCOUNT, None)
        ).person.last_inbound_at is not None
        person = await world.redis.hgetall(person_key(world, ONE))  # type: ignore[misc]  # redis-py types both flavours at once
        assert person[b"xr"] == b"21210"
        assert len(person[b"in"]) == 2 * 12
        lines = await world.store.people.consents(ONE)
        assert len(lines) == 3
        assert lines == sorted(lines, key=lambda line: str(line["at"]))
        for number in (0, 1):
            await world.redis.delete(world.keys.inbound_seen(f"SM{number}"))
            assert not (await world.writes(f"SM{number}", address=ONE)).first


async def test_open_permits_and_waiting_messages_stay_where_rows_name_them(store: Place) -> None:
    """Open permits under an old digest delay a STOP's answer and count as rivals.

    Messages that wait under it are released.
    """
    async with opened(store, tuning=LASTING) as world:
        with another_release():
            await grant(world, OTHER)
            await world.post("m1", to=OTHER)
            await world.enqueue("m2", to=OTHER)
            await world.settle(await world.claim_one(), WAITS, attempt=0, posted=False)
        applied = await world.writes(keyword="stop", address=ONE)
        assert applied.released == 1
        assert applied.open_permits_ms > 0
        assert await world.store.people.permits_left_ms(applied.person_digest) > 0
        assert (await world.writes("SM901", address=ONE)).open_permits_ms > 0
        since = await world.store.now() - timedelta(hours=1)
        rivals = await world.store.unknowns.rivals(applied.person_digest, "m3", since)
        assert rivals is not None
        assert [rival.message_id for rival in rivals] == ["m1"]


async def test_a_result_under_an_old_digest_is_the_persons(store: Place) -> None:
    """A result under an old digest counts for the person.

    Its error opts the person out, and a POST that was not sent leaves the cap.
    """
    async with opened(store) as world:
        with another_release():
            await grant(world, OTHER)
            await world.enqueue("m1", to=OTHER)
            claimed = await world.claim_one()
            await world.admit(claimed, person_cap=5)
        await world.writes(address=ONE)
        assert (
            await world.store.people.facts(ONE, SENDER, ACCOUNT, None)
        ).person.sent_last_day == 1
        with another_release():
            await world.settle(
                claimed, REFUSED, effects=(OptOut(sender_only=False, evidence="63033"),)
            )
        assert (
            await world.store.people.facts(ONE, SENDER, ACCOUNT, None)
        ).person.sent_last_day == 0
        assert await standing(world, ONE) is Standing.OPTED_OUT


async def test_an_attempt_in_doubt_is_seen_after_a_merge(store: Place) -> None:
    """After a merge a cancel still returns `too_late` for an unproven attempt."""
    async with opened(store) as world:
        with another_release():
            await grant(world, OTHER)
            claimed = await world.post("m1", to=OTHER)
            await world.settle(claimed, UNKNOWN)
        await world.send_again()
        await world.writes(address=ONE)
        assert await world.cancel() == "too_late"
        assert (await world.row())["ps"] == "1"


async def test_a_script_that_merges_may_run_twice(
    store: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each script that merges may run twice: the second time it returns the same and changes
    nothing.
    """
    twice = Twice(set())
    for name in ("run", "run_durably"):
        monkeypatch.setattr(ScriptRunner, name, twice.around(getattr(ScriptRunner, name)))
    async with opened(store) as world:
        for step in ("facts", "consents", "claim", "admit", "inbound", "consent"):
            await world.enqueue(f"m-{step}", to=ONE)
            claimed = await world.claim_one()
            with another_release():
                await grant(world, OTHER)
                await world.writes(f"SM{step}", address=OTHER)
            twice.place = world
            match step:
                case "facts":
                    await standing(world, ONE)
                case "consents":
                    await world.store.people.consents(ONE)
                case "claim":
                    await world.store.ledger.release([(claimed.message_id, claimed.fence)])
                    claimed = await world.claim_one()
                    assert await world.redis.hlen(person_key(world, OTHER)) == 2  # type: ignore[misc]  # redis-py types both flavours at once
                case "admit":
                    assert isinstance(await world.admit(claimed), Stale)
                case "inbound":
                    await world.writes("SMlast", address=ONE)
                case _:
                    await grant(world, ONE, Purpose.REPLY)
            twice.place = None
        assert twice.names >= {"facts", "consents", "claim", "admit", "inbound", "consent"}


@settings(
    max_examples=examples(40),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(STEPS)
async def test_no_stop_is_lost_however_releases_are_mixed(
    store: Place, steps: list[tuple[str, str, bool]]
) -> None:
    """However releases are mixed, an opt-out counts until a later START or meant grant undoes
    it.
    """
    async with opened(store) as world:
        await world.redis.flushdb()
    async with opened(store) as world:
        is_stopped = False
        for number, (step, spelling, is_older) in enumerate(steps):
            with another_release() if is_older else nullcontext():
                await take(world, step, number, spelling)
            is_stopped = step == "stop" or (is_stopped and step != "start")
        if is_stopped:
            for address in (ONE, OTHER):
                assert await standing(world, address) is Standing.OPTED_OUT
            await world.enqueue(to=OTHER)
            facts = (await world.claim_one()).facts
            found = permission(
                facts.person, Purpose.UTILITY, SENDER, rules().policy, await world.store.now()
            )
            assert found.standing is Standing.OPTED_OUT
