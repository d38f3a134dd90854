"""The projection of consent equals `permission` over the whole ledger, in every order of
writing.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from typing import Any, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from policies.consent import Permission, Standing, permission
from policies.facts import ConsentFact, PersonFact
from sendwindow.scripts import Script
from sendwindow.timestamps import to_ms
from sendwindow.vocabulary import Purpose
from tests.depth import examples
from tests.support.cast import ANNA, BERT, whatsapp
from tests.support.shipped import rules
from tests.support.stores_world import ACCOUNT, Place, World, opened
from worker.ports.effects import OptOut
from worker.ports.people import ConsentEntry, Inbound
from worker.stores.worker_scripts import SOURCES

BEGIN: Final = datetime(2026, 1, 1, tzinfo=UTC)
DAY: Final = timedelta(days=1)
SENDERS: Final = ("shop", "other")
PURPOSES: Final = (Purpose.UTILITY, Purpose.MARKETING, Purpose.REPLY)
WHEN_ASKED: Final = tuple(BEGIN + (2 * half - 1) * DAY / 2 for half in range(12))
MAX_LINES: Final = 512
AT_ONCE: Final = 16
"""Calls at once: fewer than the connections of a store, so that none has to wait for one."""

Permissions = dict[tuple[str, Purpose, datetime], Permission]

several = settings(max_examples=examples(60), deadline=None)


@dataclass(frozen=True)
class Said:
    """One statement.

    `word`: grant, withdraw, stop, start, or refused (Twilio knows of a STOP at the sender).
    """

    word: str
    at: datetime
    purpose: Purpose | None = None
    sender: str | None = None
    expires_at: datetime | None = None


INSTANTS = st.integers(0, 4).map(lambda days: BEGIN + days * DAY)
SCOPES = st.sampled_from([None, *SENDERS])
GRANTS = st.builds(
    Said,
    word=st.just("grant"),
    at=INSTANTS,
    purpose=st.sampled_from([None, *PURPOSES]),
    sender=SCOPES,
    expires_at=st.none() | st.integers(1, 5).map(lambda days: BEGIN + days * DAY),
)
WITHDRAWALS = st.builds(
    Said,
    word=st.just("withdraw"),
    at=INSTANTS,
    purpose=st.sampled_from([None, *PURPOSES]),
    sender=SCOPES,
)
WORDS = st.builds(
    Said,
    word=st.sampled_from(["stop", "start", "refused"]),
    at=INSTANTS,
    sender=st.sampled_from(SENDERS),
)
LEDGERS = st.lists(st.one_of(GRANTS, GRANTS, WITHDRAWALS, WORDS), max_size=10)


class Persons:
    """Records what persons said in one store. Each test of a ledger uses a new person."""

    def __init__(self, runner: asyncio.Runner, world: World, *, in_service: bool) -> None:
        self.do: Callable[[Coroutine[Any, Any, Any]], Any] = runner.run
        self.world = world
        self.in_service = in_service
        self._numbers = count()

    def new(self) -> str:
        return whatsapp(next(self._numbers))

    def told(self, ledger: Sequence[Said], address: str | None = None) -> str:
        """Record statements in this order, and return the person's address."""
        address = address or self.new()
        for said in ledger:
            self.do(self._tell(address, said))
        return address

    async def _tell(self, address: str, said: Said) -> None:
        store = self.world.store.people
        if said.word in {"stop", "start"}:
            sid = f"SM{next(self._numbers)}"
            assert said.sender is not None
            await store.apply_inbound(
                [Inbound(sid, said.sender, ACCOUNT, address, said.word, said.at)]
            )
            return
        if said.word == "refused":
            assert said.sender is not None
            await self.world.calls.run(
                REFUSED, [store.digest(address), said.sender, to_ms(said.at)]
            )
            return
        is_grant = said.word == "grant"
        entry = ConsentEntry(
            is_grant,
            ACCOUNT,
            said.purpose,
            said.sender,
            "test",
            at=said.at,
            expires_at=said.expires_at,
        )
        assert await store.record_consent(address, entry, after_stop=is_grant) == "recorded"

    def permissions(self, address: str) -> Permissions:
        """Return the decisions of the stored projection at every time of interest."""
        found: Permissions = {}
        for sender in SENDERS:
            person = self.do(self.world.store.people.facts(address, sender, ACCOUNT, None)).person
            found |= _permissions(person, sender)
        return found


def _permissions(person: PersonFact, sender: str) -> Permissions:
    return {
        (sender, purpose, now): permission(person, purpose, sender, rules().policy, now)
        for purpose in PURPOSES
        for now in WHEN_ASKED
    }


def of_whole_ledger(ledger: Sequence[Said], *, in_service: bool) -> Permissions:
    """Return the decision of the pure function over all statements.

    A START is no grant: it takes back earlier withdrawals of everything.
    """
    facts = []
    for said in ledger:
        is_grant = said.word == "grant"
        places = _places(said, in_service=in_service)
        if said.word != "start" and (is_grant or not _is_taken_back(said, places, ledger)):
            facts += [
                ConsentFact(is_grant, said.at, said.purpose, each, said.expires_at)
                for each in places
            ]
    found: Permissions = {}
    for sender in SENDERS:
        found |= _permissions(PersonFact(consents=tuple(facts)), sender)
    return found


def _places(said: Said, *, in_service: bool) -> tuple[str | None, ...]:
    """Return where a statement holds. None means at every sender."""
    if said.word == "stop":
        return (None,)
    return SENDERS if said.word == "refused" and in_service else (said.sender,)


def _is_taken_back(withdrawn: Said, places: tuple[str | None, ...], ledger: Sequence[Said]) -> bool:
    starts = {one.sender for one in ledger if one.word == "start" and one.at > withdrawn.at}
    return withdrawn.purpose is None and bool(starts if places == (None,) else starts & {*places})


def _script(name: str, text: str) -> Script:
    return Script(name, f"#!lua\n{SOURCES.assemble_text(name, text)}")


MERGE: Final = _script(
    "merge",
    "-- include: merge_consents\nreturn merge_consents(ARGV[1], ARGV[2]) and 1 or 0",
)
REFUSED: Final = _script(
    "refused",
    "-- include: clock, opt_out_by_provider\n"
    "local who = { digest = ARGV[1], sender = ARGV[2], account = 'main', "
    "intent = tonumber(ARGV[3]) }\n"
    "opt_out_by_provider({ sender_only = true, evidence = '21610' }, who, clock())",
)


@pytest.fixture(params=[False, True], ids=["senders alone", "senders of a service"])
def persons(store: Place, request: pytest.FixtureRequest) -> Iterator[Persons]:
    with asyncio.Runner() as runner:
        scope = opened(store)
        world = runner.run(scope.__aenter__())
        if request.param:
            senders = dict.fromkeys(SENDERS, ACCOUNT)
            runner.run(
                world.store.register_senders(
                    senders, services=dict.fromkeys(SENDERS, "MG" + "1" * 32)
                )
            )
        yield Persons(runner, world, in_service=request.param)
        runner.run(scope.__aexit__(None, None, None))


def test_the_projection_is_what_permission_makes_of_the_whole_ledger(persons: Persons) -> None:
    """The projection matches `permission` over the whole ledger.

    This covers standing, end and latest withdrawal, for every sender, purpose and time.
    """
    standings: set[Standing] = set()

    @several
    @given(LEDGERS)
    @example(
        [Said("grant", BEGIN, expires_at=BEGIN + DAY), Said("withdraw", BEGIN + DAY, Purpose.REPLY)]
    )
    def check(ledger: list[Said]) -> None:
        expected = of_whole_ledger(ledger, in_service=persons.in_service)
        assert persons.permissions(persons.told(ledger)) == expected
        standings.update(one.standing for one in expected.values())

    check()
    assert standings == set(Standing)


def test_the_order_of_writing_makes_no_difference(persons: Persons) -> None:
    """Statements count by their dates, however late or often an import writes them."""

    @several
    @given(LEDGERS, st.randoms(use_true_random=False))
    def check(ledger: list[Said], chance: Random) -> None:
        shuffled = [*ledger, *ledger[:3]]
        chance.shuffle(shuffled)
        assert persons.permissions(persons.told(shuffled)) == persons.permissions(
            persons.told(ledger)
        )

    check()


def test_two_records_of_a_person_become_one(persons: Persons) -> None:
    """After a merge, what was said to either record counts for both.

    Merging again changes nothing.
    """
    world = persons.world

    @several
    @given(LEDGERS, LEDGERS)
    def check(first: list[Said], second: list[Said]) -> None:
        one, other = persons.told(first), persons.told(second)
        digests = [world.store.people.digest(address) for address in (one, other)]
        lines = [persons.do(world.store.people.consents(address)) for address in (one, other)]
        assert persons.do(world.calls.run(MERGE, digests)) == (1 if first else 0)
        assert persons.permissions(other) == of_whole_ledger(
            [*first, *second], in_service=persons.in_service
        )
        merged = persons.do(world.store.people.consents(other))
        assert sorted(map(repr, merged)) == sorted(map(repr, lines[0] + lines[1]))
        if first:
            assert [line["at"] for line in merged] == sorted(line["at"] for line in merged)
        assert persons.do(world.store.people.consents(one)) == []
        assert persons.permissions(one) == of_whole_ledger([], in_service=False)
        assert persons.do(world.calls.run(MERGE, digests)) == 0
        assert persons.permissions(other) == of_whole_ledger(
            [*first, *second], in_service=persons.in_service
        )

    check()


def _entry(
    granted: bool, days: float, purpose: Purpose | None = None, ends: float | None = None
) -> ConsentEntry:
    until = None if ends is None else BEGIN + ends * DAY
    return ConsentEntry(
        granted, ACCOUNT, purpose, None, "test", at=BEGIN + days * DAY, expires_at=until
    )


async def _standing(world: World, purpose: Purpose, days: float, sender: str = "shop") -> Standing:
    person = (await world.store.people.facts(ANNA, sender, ACCOUNT, None)).person
    return permission(person, purpose, sender, rules().policy, BEGIN + days * DAY).standing


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "order", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
)
async def test_a_withdrawal_stands_again_when_a_limited_grant_has_lapsed(
    store: Place, order: Sequence[int]
) -> None:
    """A withdrawal of a purpose stands again once a later limited grant of that purpose has
    lapsed.
    """
    said = (
        _entry(True, 0),
        _entry(False, 1, Purpose.UTILITY),
        _entry(True, 2, Purpose.UTILITY, ends=20),
    )
    async with opened(store) as world:
        for number in order:
            await world.store.people.record_consent(ANNA, said[number], after_stop=True)
        assert await _standing(world, Purpose.UTILITY, 10) is Standing.GRANTED
        assert await _standing(world, Purpose.UTILITY, 21) is Standing.OPTED_OUT
        assert await _standing(world, Purpose.REPLY, 21) is Standing.GRANTED


@pytest.mark.asyncio
async def test_a_general_grant_does_not_bring_marketing_back(store: Place) -> None:
    """After an opt-out marketing needs a new grant by name."""
    async with opened(store) as world:
        record = world.store.people.record_consent
        for entry in (_entry(True, 0, Purpose.MARKETING), _entry(False, 1), _entry(True, 2)):
            await record(ANNA, entry, after_stop=True)
        assert await _standing(world, Purpose.UTILITY, 3) is Standing.GRANTED
        assert await _standing(world, Purpose.MARKETING, 3) is Standing.OPTED_OUT
        await record(ANNA, _entry(True, 3, Purpose.MARKETING), after_stop=True)
        assert await _standing(world, Purpose.MARKETING, 4) is Standing.GRANTED


@pytest.mark.asyncio
async def test_a_start_brings_back_what_was_granted_before_the_stop(store: Place) -> None:
    """A START takes back the person's own STOP and grants nothing else."""
    async with opened(store) as world:
        await world.store.people.record_consent(ANNA, _entry(True, 0, Purpose.MARKETING))
        for address, number in ((ANNA, 1), (BERT, 2)):
            await world.writes(f"SM{number}", "stop", address=address)
            await world.later(seconds=1)
            assert (await world.writes(f"SM{number}0", "start", address=address)).opted == "start"
        assert await _standing(world, Purpose.MARKETING, 400) is Standing.GRANTED
        assert await _standing(world, Purpose.UTILITY, 400) is Standing.NONE
        bert = (await world.store.people.facts(BERT, "shop", ACCOUNT, None)).person
        assert bert.consents == ()


@pytest.mark.asyncio
@pytest.mark.parametrize("withdrawn", [None, Purpose.UTILITY])
async def test_consent_dated_ahead_of_a_clock_that_was_set_back_counts(
    store: Place, withdrawn: Purpose | None
) -> None:
    """After a failover to a host whose clock is behind, every grant and every withdrawal still
    counts.
    """
    async with opened(store) as world:
        people_ = world.store.people
        await people_.record_consent(ANNA, ConsentEntry(False, ACCOUNT, withdrawn, None, "call"))
        await world.later(minutes=5)
        grant = ConsentEntry(True, ACCOUNT, "utility", None, "form")
        await people_.record_consent(ANNA, grant, after_stop=True)
        await world.later(minutes=-4)
        now = await world.store.now()
        person = (await people_.facts(ANNA, "shop", ACCOUNT, None)).person
        assert max(one.at for one in person.consents) > now
        assert (
            permission(person, Purpose.UTILITY, "shop", rules().policy, now).standing
            is Standing.GRANTED
        )
        await people_.record_consent(ANNA, ConsentEntry(False, ACCOUNT, withdrawn, None, "call"))
        person = (await people_.facts(ANNA, "shop", ACCOUNT, None)).person
        assert (
            permission(person, Purpose.UTILITY, "shop", rules().policy, now).standing
            is Standing.OPTED_OUT
        )


@pytest.mark.asyncio
async def test_a_date_ahead_of_the_store_is_now(store: Place) -> None:
    """A date ahead of the store is recorded as now, so that no entry outranks the next
    statement.
    """
    async with opened(store) as world:
        ahead = await world.store.now() + timedelta(days=1)
        entry = ConsentEntry(True, ACCOUNT, "utility", None, "form", at=ahead)
        await world.store.people.record_consent(ANNA, entry)
        (line,) = await world.store.people.consents(ANNA)
        assert line["at"] != ahead
        (fact,) = (await world.store.people.facts(ANNA, "shop", ACCOUNT, None)).person.consents
        assert fact.at == line["at"]
        assert fact.at <= await world.store.now()


@pytest.mark.asyncio
async def test_a_person_who_says_stop_and_start_forever_fills_nothing(store: Place) -> None:
    """Old STOPs and STARTs of a person leave the ledger; recorded lines and the standing stay."""
    async with opened(store) as world:
        await world.store.people.record_consent(ANNA, _entry(True, 0, Purpose.UTILITY))
        begin = await world.store.now() - timedelta(days=1)
        words = [
            Inbound(
                f"SM{number}",
                "shop",
                ACCOUNT,
                ANNA,
                ("stop", "start")[number % 2],
                begin + number * DAY / 9999,
            )
            for number in range(1101)
        ]
        for first in range(0, len(words), 100):
            await world.store.people.apply_inbound(words[first : first + 100])
        lines = await world.store.people.consents(ANNA)
        assert len(lines) <= MAX_LINES
        assert lines[0]["source"] == "test"
        assert lines[-1]["evidence"] == "SM1100"
        assert await _standing(world, Purpose.UTILITY, 400) is Standing.OPTED_OUT


@pytest.mark.asyncio
async def test_a_ledger_of_recorded_lines_is_bounded_too(store: Place) -> None:
    """If recorded lines fill the ledger, the oldest leave it, and the projection still counts
    them.
    """
    async with opened(store) as world:
        await world.store.people.record_consent(ANNA, _entry(False, 0, Purpose.MARKETING))
        grant = _entry(True, 0, Purpose.UTILITY)
        for _ in range(MAX_LINES // AT_ONCE):
            await asyncio.gather(
                *(world.store.people.record_consent(ANNA, grant) for _ in range(AT_ONCE))
            )
        lines = await world.store.people.consents(ANNA)
        assert len(lines) == MAX_LINES
        assert all(line["purpose"] == "utility" for line in lines)
        assert await _standing(world, Purpose.MARKETING, 1) is Standing.OPTED_OUT


@pytest.mark.asyncio
async def test_grants_that_each_end_sooner_are_bounded(store: Place) -> None:
    """The latest 32 of many grants that each end sooner are kept, since none makes another
    superfluous.
    """
    async with opened(store) as world:
        for number in range(40):
            await world.store.people.record_consent(
                ANNA, _entry(True, number / 100, Purpose.UTILITY, ends=100 - number)
            )
        person = (await world.store.people.facts(ANNA, "shop", ACCOUNT, None)).person
        assert len(person.consents) == 32
        assert max(one.at for one in person.consents) == BEGIN + 0.39 * DAY


@pytest.mark.asyncio
async def test_a_provider_refusal_is_one_withdrawal_in_whichever_order_it_is_heard(
    store: Place,
) -> None:
    """Twilio's refusal is one withdrawal in any order: a later START undoes it, an earlier one
    does not.
    """
    async with opened(store) as world:
        stop = OptOut(sender_only=True, evidence="21610")
        claimed = await world.accept()
        await world.later(seconds=5)
        await world.writes("SM2", "start")
        await world.callback("failed", effects=(stop,))
        assert (await world.store.people.facts(ANNA, "shop", ACCOUNT, None)).person.consents == ()
        assert claimed.message_id == "m1"
        await world.later(seconds=5)
        await world.accept("m2", "SM3")
        await world.callback("failed", "SM3", message_id="m2", effects=(stop,))
        assert await _standing(world, Purpose.UTILITY, 400) is Standing.OPTED_OUT
