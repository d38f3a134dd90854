"""Searches and fetches with much to do: urgent first, each account on its own, few reads."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from sendwindow.contract import Freeform, SendMessage
from sendwindow.vocabulary import OnUnknown, Purpose
from tests.support.cast import GRETA, german, sid
from tests.support.pipeline_world import World, accepting, dispatching
from tests.support.stores_world import UNKNOWN, Place, accepted, ask, settlement
from worker.pipeline.missing_statuses import _MAX_OPEN_FETCHES, MAX_BATCH_MESSAGES
from worker.pipeline.token_bucket import TokenBucket
from worker.pipeline.unknown.matching import listing_of
from worker.pipeline.unknown.message_lists import MAX_PAGES
from worker.ports.claims import Suspects
from worker.twilio.client import TwilioClient
from worker.wiring import register

pytestmark = pytest.mark.asyncio

BRANCH: Final = "whatsapp:+14155550190"
SECOND_SID: Final = "AC" + "2" * 32
CODE_TO: Final = f"whatsapp:{german(999)}"


@pytest.fixture(autouse=True)
def _lists_stay_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a list fresh for longer than a slow machine needs; test_list_cache.py has the limit."""
    monkeypatch.setattr("worker.pipeline.unknown.list_cache.FRESH", timedelta(hours=1))


@asynccontextmanager
async def two_accounts(store: Place, journal: Path) -> AsyncIterator[World]:
    """Open a world whose sender `branch` belongs to another account, `second`."""
    async with dispatching(store, journal, accepting) as world:
        settings = world.settings
        second = replace(settings.accounts["main"], account_sid=SECOND_SID)
        branch = replace(settings.senders["shop"], name="branch", account="second", address=BRANCH)
        world.settings = replace(
            settings,
            accounts={**settings.accounts, "second": second},
            senders={**settings.senders, "branch": branch},
        )
        await register(world.store, world.settings)
        async with TwilioClient(world.settings.accounts) as world.client:
            yield world


def number(at: int) -> str:
    return f"whatsapp:{german(at)}"


async def park(
    world: World,
    recipients: Sequence[str],
    purpose: Purpose = Purpose.MARKETING,
    rule: OnUnknown = OnUnknown.NEVER,
    sender: str = "shop",
) -> None:
    """Park a message to each recipient as unknown. Its id is the recipient's number."""
    configured = world.settings.senders[sender]
    account = configured.account
    listing = listing_of(world.settings.accounts[account].account_sid, configured.address)
    await world.producer.send_many(
        [
            SendMessage(
                to=to,
                sender=sender,
                purpose=purpose,
                freeform=Freeform(body="hello"),
                message_id=f"{sender}-{to[-9:]}",
                on_unknown=rule,
            )
            for to in recipients
        ]
    )
    while claims := (await world.store.ledger.claim(32, Suspects.NEVER)).claimed:
        asks = [
            replace(ask(claim), listing=listing, sender=sender, account=account) for claim in claims
        ]
        await world.store.ledger.admit(asks)
        unknown = [settlement(claim, UNKNOWN, sender=sender, account=account) for claim in claims]
        await world.store.ledger.settle(unknown)


CODE_ID: Final = f"shop-{CODE_TO[-9:]}"


@pytest.mark.parametrize("is_endless", [False, True], ids=["short list", "busy sender"])
async def test_no_read_comes_before_that_for_a_login_code(
    store: Place, tmp_path: Path, is_endless: bool
) -> None:
    """A login code is resent before the search for a campaign's unknowns, even if those are due
    earlier.
    """
    async with dispatching(store, tmp_path / "j") as world:
        world.twilio.is_endless = is_endless
        world.twilio.show(sid(1), at=await world.store.now(), to=f"whatsapp:{german(998)}")
        await park(world, [number(at) for at in range(150)])
        await park(world, [CODE_TO], Purpose.AUTHENTICATION, OnUnknown.RESEND)
        await world.later(seconds=31)
        await world.search(TokenBucket(0.0, 8, lambda: 0.0)).turn()
        assert world.twilio.asked[0] == CODE_TO
        assert await world.stage(CODE_ID) == "retrying"


async def test_one_list_read_serves_every_unknown_it_covers(store: Place, tmp_path: Path) -> None:
    """One list serves every unknown that it covers, also those claimed after it was read.

    That is one request for a hundred people.
    """
    async with dispatching(store, tmp_path / "j") as world:
        at = await world.store.now()
        await park(world, [number(each) for each in range(100)])
        world.twilio.show(sid(7), at=at + timedelta(seconds=1), to=number(70))
        await world.later(seconds=20)
        assert await world.search().turn() == 100
        assert world.twilio.asked == [None]
        assert sorted(set(world.watch.findings)) == ["found", "unclear"]
        assert (await world.record(f"shop-{number(70)[-9:]}")).row["sid"] == sid(7)


async def test_one_list_proves_the_absence_of_all_that_it_covers(
    store: Place, tmp_path: Path
) -> None:
    """One list proves all absences that it covers: it is complete and shows a later message of
    ours.
    """
    async with dispatching(store, tmp_path / "j") as world:
        await park(
            world, [number(at) for at in range(40)], Purpose.UTILITY, OnUnknown.RESEND_IF_ABSENT
        )
        await world.later(seconds=5)
        await accept(world, ["witness"])
        world.twilio.show(sid(0), at=await world.store.now(), to=GRETA)
        await world.later(minutes=11)
        assert await world.search().turn() == 40
        assert set(world.watch.findings) == {"absent"}
        assert world.twilio.asked == [None]


async def test_a_row_to_another_person_proves_nothing_in_a_senders_list(
    store: Place, tmp_path: Path
) -> None:
    """A row to another person counts for no message of ours, even with the same text."""
    async with dispatching(store, tmp_path / "j") as world:
        at = await world.store.now()
        await park(world, [number(1), number(2)], Purpose.UTILITY, OnUnknown.RESEND_IF_ABSENT)
        world.twilio.show(sid(5), at=at + timedelta(seconds=1), to=number(3))
        world.twilio.show(sid(6), at=at + timedelta(seconds=1), to=number(2))
        await world.later(seconds=5)
        await accept(world, ["witness"])
        world.twilio.show(sid(0), at=await world.store.now(), to=GRETA)
        await world.later(minutes=11)
        assert await world.search().turn() == 2
        assert sorted(world.watch.findings) == ["absent", "found"]
        assert await world.stage(f"shop-{number(1)[-9:]}") == "retrying"


async def test_a_list_that_does_not_reach_back_covers_nothing(store: Place, tmp_path: Path) -> None:
    """If a busy sender's list ends too early, each recipient's list is read, and the long one
    not again.
    """
    async with dispatching(store, tmp_path / "j") as world:
        world.twilio.is_endless = True
        await park(world, [number(at) for at in range(10)])
        await world.later(seconds=20)
        world.twilio.show(sid(1), at=await world.store.now(), to=f"whatsapp:{german(998)}")
        assert await world.search().turn() == 10
        assert world.twilio.asked.count(None) == MAX_PAGES
        assert sorted(to for to in world.twilio.asked if to) == [number(at) for at in range(10)]


async def test_a_list_read_before_the_rule_decides_is_not_the_last_word(
    store: Place, tmp_path: Path
) -> None:
    """A list read before the rule decides is not enough: a resend needs a search of its own."""
    async with dispatching(store, tmp_path / "j") as world:
        search = world.search()
        await park(world, [number(1), number(2)], Purpose.AUTHENTICATION, OnUnknown.RESEND)
        await world.later(seconds=28)
        assert await search.turn() == 2
        assert world.twilio.reads == 1
        await world.later(seconds=5)
        assert await search.turn() == 2
        assert world.twilio.reads == 2
        assert await world.stage(f"shop-{number(1)[-9:]}") == "retrying"


async def test_an_account_with_an_empty_token_bucket_does_not_stop_the_others(
    store: Place, tmp_path: Path
) -> None:
    """An account without requests left keeps its work due and does not stop other accounts."""
    async with two_accounts(store, tmp_path / "j") as world:
        world.twilio.is_endless = True
        world.twilio.show(
            sid(1), at=await world.store.now() + timedelta(hours=1), to=f"whatsapp:{german(998)}"
        )
        await park(world, [number(at) for at in range(40)])
        await park(world, [number(50)], Purpose.MARKETING, OnUnknown.NEVER, "branch")
        await world.later(seconds=20)
        looked_at = await world.search(TokenBucket(0.0, 10, lambda: 0.0)).turn()
        assert number(50) in world.twilio.asked
        assert looked_at < 41
        due = await world.store.unknowns.due(32, 30_000)
        assert {one.account for one in due} == {"main"}
        records = await world.store.records.several([one.message_id for one in due])
        # The search that asked for nothing does not count.
        assert {record.row["lo"] for record in records if record is not None} == {"1"}


async def test_an_account_whose_lists_fail_is_left_alone_for_the_turn(
    store: Place, tmp_path: Path
) -> None:
    """After three failed lists an account is left alone for this run.

    A code needs no proof and is resent; the rest stays due.
    """
    async with dispatching(store, tmp_path / "j") as world:
        world.twilio.is_broken = True
        await park(world, [number(at) for at in range(20)])
        await park(world, [CODE_TO], Purpose.AUTHENTICATION, OnUnknown.RESEND)
        await world.later(minutes=9)
        looked_at = await world.search().turn()
        assert world.twilio.reads == looked_at == 3
        assert await world.stage(CODE_ID) == "retrying"
        world.twilio.is_broken = False
        assert await world.search().turn() == 18


# -- statuses that stay away ---------------------------------------------------------------------


async def accept(world: World, names: Sequence[str], sender: str = "shop", first: int = 0) -> None:
    """Have a message to Anna accepted for each name, under SIDs from `first` on."""
    for name in names:
        await world.enqueue(name, sender=sender)
    account, at = world.settings.senders[sender].account, first
    while claims := (await world.store.ledger.claim(32, Suspects.NEVER)).claimed:
        asks = [replace(ask(claim), sender=sender, account=account) for claim in claims]
        await world.store.ledger.admit(asks)
        for claim in claims:
            one = settlement(claim, accepted(sid(at)), sender=sender, account=account)
            await world.store.ledger.settle([one])
            at += 1


async def test_a_turn_fetches_all_that_the_token_buckets_allow(
    store: Place, tmp_path: Path
) -> None:
    """One run fetches all that the token buckets allow, in more than one batch."""
    async with two_accounts(store, tmp_path / "j") as world:
        await accept(world, [f"m{at}" for at in range(2 * MAX_BATCH_MESSAGES)])
        await accept(world, ["theirs"], "branch", first=500)
        await world.later(minutes=16)
        assert (
            await world.reconciler(TokenBucket(0.0, MAX_BATCH_MESSAGES + 5, lambda: 0.0)).turn()
            == MAX_BATCH_MESSAGES + 6
        )
        assert (
            await world.reconciler(TokenBucket(0.0, 1000, lambda: 0.0)).turn()
            == MAX_BATCH_MESSAGES - 5
        )


async def test_old_messages_cost_no_request(store: Place, tmp_path: Path) -> None:
    """Messages older than 48 hours cost no request, and younger ones are fetched at once."""
    async with dispatching(store, tmp_path / "j") as world:
        await accept(world, [f"old-{at}" for at in range(50)])
        await world.later(hours=49)
        await accept(world, ["young"], first=500)
        await world.later(minutes=16)
        assert await world.reconciler().turn() == 1
        assert world.twilio.reads == 1
        assert (await world.store.records.counts())["status_never_final"] == 50


async def test_an_account_that_does_not_answer_fetches_is_left_alone_for_the_turn(
    store: Place, tmp_path: Path
) -> None:
    """An account that does not answer gets a few requests, and its other messages stay due."""
    async with dispatching(store, tmp_path / "j") as world:
        await accept(world, [f"m{at}" for at in range(MAX_BATCH_MESSAGES)])
        await world.later(minutes=16)
        world.twilio.is_broken = True
        assert await world.reconciler().turn() == _MAX_OPEN_FETCHES
        world.twilio.is_broken = False
        assert await world.reconciler().turn() == MAX_BATCH_MESSAGES - _MAX_OPEN_FETCHES


async def test_searches_and_fetches_have_token_buckets_of_their_own(
    store: Place, tmp_path: Path
) -> None:
    """Searches and fetches have separate token buckets, so a backlog of statuses costs a search
    nothing.
    """
    async with dispatching(store, tmp_path / "j") as world:
        duties = world.dispatcher()._periodic_work._jobs
        assert {duty.name: duty.every for duty in duties}["fetch"] == 5
    bucket = TokenBucket(0.0, 2, lambda: 0.0)
    bucket.of("main").spend(2)
    assert (bucket.of("main").left, bucket.of("second").left, bucket.left) == (0, 2, 2)
