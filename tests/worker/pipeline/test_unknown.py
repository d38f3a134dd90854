"""Unknown outcomes: evidence in Twilio's list, the message's rule, and missing statuses."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import web
from redis.exceptions import ResponseError
from structlog.testing import capture_logs

from sandbox.app import running
from sandbox.config import SandboxAccount, SandboxConfig, SandboxSettings
from sandbox.faults import Action, FaultRule, Match
from sendwindow.contract import Template
from sendwindow.errors import NotDurable
from sendwindow.producer import Producer
from sendwindow.vocabulary import OnUnknown, Reason, Stage
from tests.support.cast import ACCOUNT_SID, GRETA, KLARA, SHOP, sid
from tests.support.pipeline_world import Twilio, World, dispatching, dispatching_to, resetting
from tests.support.stores_world import Place
from tests.support.waiting import HANG_SECONDS
from worker.pipeline.periodic import PeriodicWork
from worker.pipeline.store_retry import Health, StoreRetry
from worker.pipeline.token_bucket import TokenBucket
from worker.pipeline.unknown.search import BATCH
from worker.ports.statuses import StatusUpdate
from worker.runtime import embedded_store
from worker.runtime.cancellation import end_tasks

pytestmark = pytest.mark.asyncio

BRAZIL, BRAZIL_SHORT = "whatsapp:+5511995550123", "whatsapp:+551195550123"
TRUNK: Final = "whatsapp:+4407700900124"
USER_ID: Final = "whatsapp:US.1a2b3c4d"
ABSENT_AFTER: Final = timedelta(minutes=11)
LATE_PROOF: Final = StatusUpdate(
    sid(7), "sent", rank=40, is_final=False, is_failure=False, code=None, message_id="m1", attempt=1
)


async def parked(world: World, message_id: str = "m1", **wish: object) -> datetime:
    """Park a message as unknown by a reset connection. Returns when its intent was written."""
    to = str(wish.get("to", GRETA))
    await world.consents(to)
    await world.writes(to)
    await world.later(seconds=1)  # what the person wrote is older than what the POST teaches
    await world.enqueue(message_id, **wish)
    before = len([stage for stage, _ in world.watch.stages if stage is Stage.UNKNOWN])
    await world.run_until(Stage.UNKNOWN, before + 1)
    return await world.store.now()


async def look_after(world: World, pause: timedelta) -> str:
    """Let time pass, search once, and return the finding."""
    await world.later(seconds=pause.total_seconds())
    assert await world.search().turn() == 1
    return world.watch.findings[-1]


async def known_message(world: World, message_id: str, to: str) -> str:
    """Have another message accepted, and return its SID, which we know."""
    posts = len(world.twilio.posts)
    answer, world.twilio.answer = world.twilio.answer, _accept
    await world.consents(to)
    await world.writes(to)
    await world.enqueue(message_id, to=to)
    await world.run_until(Stage.ACCEPTED)
    world.twilio.answer = answer
    return sid(1000 + posts + 1)


async def _accept(twilio: Twilio, form: dict[str, str]) -> web.StreamResponse:
    return web.json_response({"sid": sid(1000 + len(twilio.posts)), "status": "queued"}, status=201)


async def test_a_message_in_the_list_is_bound_to_its_attempt(store: Place, tmp_path: Path) -> None:
    """One free row to the recipient, in time and with our text, binds the attempt to its SID.

    The message is accepted with the status in the list.
    """
    async with dispatching(store, tmp_path / "j", resetting) as world:
        intent_at = await parked(world)
        world.twilio.show(sid(5), at=intent_at, status="delivered")
        assert await look_after(world, timedelta(seconds=20)) == "found"
        row = (await world.record()).row
        assert (row["s"], row["r"], row["sid"], row["st"]) == (
            "accepted",
            "evidence_list",
            sid(5),
            "delivered",
        )
        resolved = [line for line in world.journaled() if line["e"] == "resolved"]
        assert [(line["attempt"], line["reason"], line["sid"]) for line in resolved] == [
            (1, "evidence_list", sid(5))
        ]
        assert len(world.twilio.posts) == 1


async def test_silence_alone_sends_nothing_again(store: Place, tmp_path: Path) -> None:
    """Before `absent_after` an empty list only means another search, ever later."""
    async with dispatching(store, tmp_path / "j", resetting) as world:
        await parked(world)
        assert await look_after(world, timedelta(seconds=20)) == "unclear"
        assert await world.stage() == "unknown"
        assert await look_after(world, timedelta(seconds=60)) == "unclear"
        assert await world.stage() == "unknown"


async def test_a_proven_list_without_the_message_lets_it_be_sent_again(
    store: Place, tmp_path: Path
) -> None:
    """With `resend_if_absent` a list that shows a later message of ours proves the absence of
    this one.
    """
    async with dispatching(store, tmp_path / "j", resetting) as world:
        await parked(world)
        await world.later(seconds=5)
        witness = await known_message(world, "other", KLARA)
        world.twilio.show(witness, at=await world.store.now(), to=KLARA)
        assert await look_after(world, ABSENT_AFTER) == "absent"
        assert (await world.stage(), await world.reason()) == ("retrying", "resent_by_rule")
        world.twilio.answer = _accept
        await world.run_until(Stage.ACCEPTED, 2)
        assert (await world.record()).row["a"] == "2"


async def test_an_unproven_list_never_lets_a_message_be_sent_again(
    store: Place, tmp_path: Path
) -> None:
    """An empty list that shows no message of ours proves nothing, so an operator decides."""
    async with dispatching(store, tmp_path / "j", resetting) as world:
        await parked(world)
        assert await look_after(world, ABSENT_AFTER) == "unclear"
        assert (await world.stage(), await world.reason()) == ("unresolved", "held_by_rule")
        assert [record.message_id async for record in world.store.records.listed("unresolved")] == [
            "m1"
        ]
        assert len(world.twilio.posts) == 1


async def test_a_list_that_hides_what_we_know_is_not_trusted(store: Place, tmp_path: Path) -> None:
    """A witness in the sender's list must show under its recipient too, or that filter is
    broken.
    """
    async with dispatching(store, tmp_path / "j", resetting) as world:
        await parked(world)
        await world.later(seconds=5)
        witness = await known_message(world, "other", KLARA)
        world.twilio.show(witness, at=await world.store.now(), to=KLARA)
        world.twilio.hidden_to = KLARA
        assert await look_after(world, ABSENT_AFTER) == "unclear"
        assert world.twilio.reads == 3
        assert await world.stage() == "unresolved"


async def test_a_witness_older_than_the_intent_is_none(store: Place, tmp_path: Path) -> None:
    """A list that lags behind the intent cannot prove that the message is absent."""
    async with dispatching(store, tmp_path / "j", resetting) as world:
        witness = await known_message(world, "other", KLARA)
        world.twilio.show(witness, at=await world.store.now() - timedelta(seconds=5), to=KLARA)
        await world.later(minutes=1)
        await parked(world)
        assert await look_after(world, ABSENT_AFTER) == "unclear"
        assert await world.stage() == "unresolved"


@pytest.mark.parametrize("changed", ["address", "account"])
async def test_what_went_out_from_elsewhere_is_not_missed_here(
    store: Place, tmp_path: Path, changed: str
) -> None:
    """A message sent from an older number or account SID is not called absent in a list that
    cannot hold it.
    """
    async with dispatching(store, tmp_path / "j", resetting) as world:
        world.twilio.show(sid(5), at=await parked(world))
        address = "whatsapp:+14155550199" if changed == "address" else SHOP
        settings = world.settings
        shop = replace(settings.senders["shop"], address=address)
        main = replace(settings.accounts["main"], account_sid="AC" + "2" * 32)
        accounts = {"main": main} if changed == "account" else settings.accounts
        world.settings = replace(settings, senders={"shop": shop}, accounts=accounts)
        await world.later(seconds=5)
        witness = await known_message(world, "other", KLARA)
        world.twilio.show(witness, at=await world.store.now(), to=KLARA)
        world.twilio.listed[-1]["from"] = address
        if changed == "account":
            del world.twilio.listed[0]
        assert await look_after(world, ABSENT_AFTER) == "unclear"
        assert (await world.stage(), await world.reason()) == ("unresolved", "held_by_rule")
        resolved = [line for line in (await world.record()).timeline if line["e"] == "unresolved"]
        assert [line["text"] for line in resolved] == ["sender"]


async def test_trust_won_for_phones_is_not_trust_for_user_ids(store: Place, tmp_path: Path) -> None:
    """In the same run a message to a phone is absent while one to a user id is unproven.

    An operator decides the second one.
    """
    async with dispatching(store, tmp_path / "j", resetting) as world:
        await parked(world)
        await parked(world, "m2", to=USER_ID)
        await world.later(seconds=5)
        witness = await known_message(world, "other", KLARA)
        world.twilio.show(witness, at=await world.store.now(), to=KLARA)
        await world.later(seconds=ABSENT_AFTER.total_seconds())
        assert await world.search().turn() == 2
        assert (await world.stage("m1"), await world.stage("m2")) == ("retrying", "unresolved")


async def test_a_list_that_shows_the_same_user_id_is_proven(store: Place, tmp_path: Path) -> None:
    """A later message of ours to that user id that shows under it proves the list for the
    earlier one.
    """
    async with dispatching(store, tmp_path / "j", resetting) as world:
        await parked(world, to=USER_ID)
        await world.later(seconds=5)
        witness = await known_message(world, "other", USER_ID)
        world.twilio.show(witness, at=await world.store.now(), to=USER_ID)
        assert await look_after(world, ABSENT_AFTER) == "absent"
        assert (await world.stage(), await world.reason()) == ("retrying", "resent_by_rule")


@pytest.mark.parametrize("witness", [KLARA, "whatsapp:US.hidden"])
async def test_a_message_listed_under_the_phone_behind_its_user_id_is_sent_once(
    store: Place, tmp_path: Path, witness: str
) -> None:
    """A message that Twilio lists under a phone hidden behind a user id is sent only once.

    No message to another person makes its absence proven.
    """
    account = SandboxAccount(sid=ACCOUNT_SID, token="secret")
    config = SandboxConfig(
        accounts=(account,), settings=SandboxSettings(shows_phones=True, statuses={})
    )
    async with (
        running(config) as (url, sandbox),
        dispatching_to(Twilio(_accept, url), store, tmp_path / "j") as world,
    ):
        sandbox.people.link(GRETA, USER_ID)
        sandbox.faults.add(FaultRule(action=Action.ACCEPT_RESET, match=Match(id="m1")))
        for to in (USER_ID, witness):
            sandbox.people.at(to).write(SHOP, sandbox.outbox.now_ms())
        await parked(world, to=USER_ID)
        await world.later(seconds=5)
        sandbox.outbox.offset_ms = 5000
        await known_message(world, "other", witness)
        assert await look_after(world, ABSENT_AFTER) == "unclear"
        assert (await world.stage(), await world.reason()) == ("unresolved", "held_by_rule")
        assert [held.to for held in sandbox.messages.newest_first()] == [witness, GRETA]


@pytest.mark.parametrize(
    "to, shown",
    [(BRAZIL, BRAZIL_SHORT), (BRAZIL_SHORT, BRAZIL), (TRUNK, TRUNK.replace("440", "44"))],
)
async def test_a_message_listed_under_another_spelling_is_found(
    store: Place, tmp_path: Path, to: str, shown: str
) -> None:
    """A message that Twilio lists under another spelling of the person is found and not resent."""
    account = SandboxAccount(sid=ACCOUNT_SID, token="secret")
    config = SandboxConfig(
        accounts=(account,), settings=SandboxSettings(shows_own_spelling=True, statuses={})
    )
    async with (
        running(config) as (url, sandbox),
        dispatching_to(Twilio(_accept, url), store, tmp_path / "j") as world,
    ):
        sandbox.people.at(to).write(SHOP, sandbox.outbox.now_ms())
        sandbox.people.at(to).wrote_from = shown
        sandbox.faults.add(FaultRule(action=Action.ACCEPT_RESET, match=Match(id="m1")))
        await parked(world, to=to)
        assert [held.to for held in sandbox.messages.newest_first()] == [shown]
        assert await look_after(world, timedelta(seconds=31)) == "found"
        assert (await world.stage(), await world.reason()) == ("accepted", "evidence_list")


async def test_nothing_is_absent_that_may_be_listed_under_another_spelling(
    store: Place, tmp_path: Path
) -> None:
    """A message is resent only after the lists of both spellings were read.

    One witness proves both.
    """
    async with dispatching(store, tmp_path / "j", resetting) as world:
        await parked(world, to=BRAZIL)
        await world.later(seconds=5)
        witness = await known_message(world, "other", KLARA)
        world.twilio.show(witness, at=await world.store.now(), to=KLARA)
        await look_after(world, ABSENT_AFTER)
        asked = {to for to in world.twilio.asked if to}
        assert asked == set() or {BRAZIL, BRAZIL_SHORT} <= asked


@pytest.mark.parametrize(
    "rule, pause, stage, reason",
    [
        (OnUnknown.RESEND, timedelta(seconds=31), "retrying", "resent_by_rule"),
        (OnUnknown.NEVER, ABSENT_AFTER, "dead", "never_by_rule"),
        (OnUnknown.HOLD, ABSENT_AFTER, "unresolved", "held_by_rule"),
    ],
)
async def test_each_rule_does_what_it_says(
    store: Place, tmp_path: Path, rule: OnUnknown, pause: timedelta, stage: str, reason: str
) -> None:
    """`resend` sends again without proof, `never` ends, and `hold` waits for an operator."""
    async with dispatching(store, tmp_path / "j", resetting) as world:
        await parked(world, on_unknown=rule)
        await look_after(world, pause)
        assert (await world.stage(), await world.reason()) == (stage, reason)


async def test_a_code_is_sent_again_twice_and_then_left_to_a_person(
    store: Place, tmp_path: Path
) -> None:
    """A code whose attempts are never proven gets three POSTs and then waits for an operator."""
    async with dispatching(store, tmp_path / "j", resetting) as world:
        await parked(world, on_unknown=OnUnknown.RESEND)
        for posts in (2, 3):
            await look_after(world, timedelta(seconds=31))
            await world.run_until(Stage.UNKNOWN, posts)
            assert len(world.twilio.posts) == posts
        await look_after(world, timedelta(seconds=31))
        assert (await world.stage(), await world.reason()) == ("unresolved", "held_by_rule")


ENGLISH: Final = Template(name="order", language="en", variables={"1": "A-1"})
GERMAN: Final = Template(name="order", language="de", variables={"1": "A-1"})


async def test_a_template_is_found_by_its_rendered_text(store: Place, tmp_path: Path) -> None:
    """A template is found in Twilio's list by its approved text with the values filled in."""
    async with dispatching(store, tmp_path / "j", resetting) as world:
        intent_at = await parked(world, freeform=None, template=ENGLISH)
        world.twilio.show(sid(5), at=intent_at, body="An agent here, how can I help?")
        assert await look_after(world, timedelta(seconds=20)) == "unclear"
        world.twilio.show(sid(6), at=intent_at, body="Your order A-1 is on its way.")
        assert await look_after(world, timedelta(seconds=60)) == "found"
        assert (await world.record()).row["sid"] == sid(6)


@pytest.mark.parametrize(
    ("template", "rule", "end"),
    [
        (ENGLISH, OnUnknown.RESEND_IF_ABSENT, ("retrying", "resent_by_rule")),
        (GERMAN, OnUnknown.RESEND_IF_ABSENT, ("unresolved", "held_by_rule")),
        (GERMAN, OnUnknown.RESEND, ("retrying", "resent_by_rule")),
        (GERMAN, OnUnknown.NEVER, ("dead", "never_by_rule")),
    ],
)
async def test_a_strangers_message_neither_proves_a_template_nor_lets_it_be_called_absent(
    store: Place, tmp_path: Path, template: Template, rule: OnUnknown, end: tuple[str, str]
) -> None:
    """Another text makes ours absent only where our text is known.

    Otherwise the rule acts as without evidence.
    """
    async with dispatching(store, tmp_path / "j", resetting) as world:
        intent_at = await parked(world, freeform=None, template=template, on_unknown=rule)
        world.twilio.show(
            sid(5), at=intent_at + timedelta(minutes=4), body="An agent here, how can I help?"
        )
        await world.later(seconds=5)
        witness = await known_message(world, "other", KLARA)
        world.twilio.show(witness, at=await world.store.now(), to=KLARA)
        await look_after(world, ABSENT_AFTER)
        assert (await world.stage(), await world.reason()) == end


async def test_a_text_approved_after_the_attempt_is_not_what_it_sent(
    store: Place, tmp_path: Path
) -> None:
    """After a deploy with another ContentSid the text that the attempt sent is unknown."""
    async with dispatching(store, tmp_path / "j", resetting) as world:
        intent_at = await parked(world, freeform=None, template=ENGLISH)
        world.twilio.show(sid(5), at=intent_at, body="Your order A-1 is on its way.")
        order = world.settings.templates["order"]
        newer = replace(
            order.languages["en"], sid="HX" + "7" * 32, body="Parcel {{1}}: look out of the window"
        )
        templates = {"order": replace(order, languages={"en": newer})}
        world.settings = replace(world.settings, templates=templates)
        await world.later(seconds=5)
        witness = await known_message(world, "other", KLARA)
        world.twilio.show(witness, at=await world.store.now(), to=KLARA)
        assert await look_after(world, ABSENT_AFTER) == "unclear"
        assert await world.stage() == "unresolved"


async def test_a_row_that_may_be_another_messages_proves_nothing(
    store: Place, tmp_path: Path
) -> None:
    """One row for two unknown templates to a person binds neither.

    Bound to the wrong one, it would send the other's double later.
    """
    async with dispatching(store, tmp_path / "j", resetting) as world:
        intent_at = await parked(world, freeform=None, template=ENGLISH)
        await parked(world, "m2", freeform=None, template=ENGLISH)
        world.twilio.show(sid(5), at=intent_at, body="Your order A-1 is on its way.")
        await world.later(seconds=20)
        assert await world.search().turn() == 2
        assert world.watch.findings[-2:] == ["unclear", "unclear"]
        assert await world.stage() == "unknown"


async def test_what_went_out_as_freeform_is_looked_for_by_its_text(
    store: Place, tmp_path: Path
) -> None:
    """A message sent as freeform is searched for by its text, because the store knows the form
    it took.
    """
    async with dispatching(store, tmp_path / "j", resetting) as world:
        wish = Template(name="order", language="en", variables={"1": "A-1"})
        intent_at = await parked(world, template=wish)
        world.twilio.show(sid(5), at=intent_at, body="Another message altogether")
        assert await look_after(world, timedelta(seconds=20)) == "unclear"


async def test_a_failed_message_in_the_list_is_a_proof_too(store: Place, tmp_path: Path) -> None:
    """A failed message in the list is accepted with its failure and the effects of that."""
    async with dispatching(store, tmp_path / "j", resetting) as world:
        intent_at = await parked(world)
        world.twilio.show(sid(5), at=intent_at, status="undelivered", code=63024)
        assert await look_after(world, timedelta(seconds=20)) == "found"
        row = (await world.record()).row
        assert (row["s"], row["st"], row["c"]) == ("accepted", "undelivered", "63024")
        facts = await world.store.people.facts(GRETA, "shop", "main", None)
        assert facts.person.suppressed_until is not None


async def test_an_empty_budget_leaves_the_attempt_for_later(store: Place, tmp_path: Path) -> None:
    """Without requests left in the token bucket, no list is read and nothing is concluded."""
    async with dispatching(store, tmp_path / "j", resetting) as world:
        await parked(world, on_unknown=OnUnknown.RESEND_IF_ABSENT)
        await world.later(minutes=11)
        assert await world.search(bucket=TokenBucket(0.0, 2, lambda: 0.0)).turn() == 0
        assert (world.twilio.reads, await world.stage()) == (0, "unknown")


async def test_a_list_that_cannot_be_read_leaves_the_attempt_for_later(
    store: Place, tmp_path: Path
) -> None:
    """A list that cannot be read is no evidence; after an hour of failures an operator decides."""
    async with dispatching(store, tmp_path / "j", resetting) as world:
        await parked(world)
        world.twilio.is_broken = True
        assert await look_after(world, ABSENT_AFTER) == "failed"
        assert await world.stage() == "unknown"
        assert await look_after(world, timedelta(hours=1)) == "failed"
        assert await world.stage() == "unresolved"


async def test_an_unreadable_job_goes_to_a_person(store: Place, tmp_path: Path) -> None:
    """An unknown message with an unreadable job goes to an operator.

    Without the job there is nothing to search for.
    """
    async with dispatching(store, tmp_path / "j", resetting) as world:
        await parked(world, on_unknown=OnUnknown.RESEND)
        await world.redis.set(world.store.keys.job("m1"), b"garbage")
        await look_after(world, timedelta(seconds=60))
        assert await world.stage() == "unresolved"


async def test_evidence_after_a_resend_is_noted_and_counted(store: Place, tmp_path: Path) -> None:
    """Evidence of the first attempt after a resend records a copy; the accepted attempt stays."""
    async with dispatching(store, tmp_path / "j", resetting) as world:
        await parked(world, on_unknown=OnUnknown.RESEND)
        await look_after(world, timedelta(seconds=31))
        world.twilio.answer = _accept
        await world.run_until(Stage.ACCEPTED)
        await world.store.statuses.apply([LATE_PROOF])
        row = (await world.record()).row
        assert (row["s"], row["a"]) == ("accepted", "2")
        assert "duplicate" in [line["e"] for line in (await world.record()).timeline]


class Unacknowledged:
    """A part of the store whose first call is done, but raises because the replica is away."""

    def __init__(self, world: World, part: Any) -> None:
        self._calls = world.store._calls
        self._part = part
        self._is_first = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._part, name)

    async def _once_in_vain(self, call: Callable[[Any], Awaitable[Any]], argument: Any) -> Any:
        self._calls._replicas = 1 if self._is_first else 0
        self._is_first = False
        return await call(argument)

    async def resolve(self, resolutions: Any) -> Any:
        return await self._once_in_vain(self._part.resolve, resolutions)

    async def apply(self, updates: Any) -> Any:
        return await self._once_in_vain(self._part.apply, updates)


@pytest.mark.parametrize("is_listed", [True, False], ids=["bound", "resolved"])
async def test_what_a_search_did_is_told_although_no_replica_answered(
    store: Place, tmp_path: Path, is_listed: bool
) -> None:
    """A finding whose reply was lost for want of a replica is journaled when the call is
    repeated.
    """
    async with dispatching(store, tmp_path / "j", resetting) as world:
        intent_at = await parked(world, on_unknown=OnUnknown.RESEND)
        if is_listed:
            world.twilio.show(sid(5), at=intent_at)
        await world.later(seconds=31)
        unknowns, statuses = (
            Unacknowledged(world, part) for part in (world.store.unknowns, world.store.statuses)
        )
        assert await replace(world.search(), unknowns=unknowns, statuses=statuses).turn() == 1
        resolved = [line["reason"] for line in world.journaled() if line["e"] == "resolved"]
        assert resolved == ["evidence_list" if is_listed else "resent_by_rule"]
        assert world.watch.parts == ["search"]


class Vanishing(Unacknowledged):
    """A part of the store whose first call stops the server after it was done."""

    def __init__(self, world: World, part: Any, leave: Callable[[], None]) -> None:
        super().__init__(world, part)
        self._leave = leave

    async def _once_in_vain(self, call: Callable[[Any], Awaitable[Any]], argument: Any) -> Any:
        try:
            return await super()._once_in_vain(call, argument)
        except NotDurable:
            await asyncio.to_thread(self._leave)
            raise


async def test_a_search_outlives_a_store_that_goes_away_and_is_told_once(tmp_path: Path) -> None:
    """The search survives an outage of the store, and its result is journaled once.

    Periodic work restarts meanwhile, and the worker becomes ready again.
    """
    folder, environ = tmp_path / "store", {"PATH": os.environ.get("PATH", "")}
    server = embedded_store.start(folder, environ=environ)

    class Here:
        url = server.url
        partition = "p0"

    try:
        async with dispatching(Here(), tmp_path / "j", resetting) as world:
            await parked(world, on_unknown=OnUnknown.RESEND)
            await world.later(seconds=31)
            health = Health(world.observers.log, world.watch)
            store_retry = StoreRetry(health, lambda: 0.0)
            unknowns: Any = Vanishing(world, world.store.unknowns, server.stop)
            duties = PeriodicWork(Here.url, world.store.keys, store_retry, world.observers)
            search = replace(world.search(), unknowns=unknowns, store_retry=store_retry)
            duties.add("search", 1, search.turn, full=BATCH)
            running = asyncio.create_task(duties.run())
            try:
                await world.watch.until(lambda: {"search", "periodic"} <= set(world.watch.parts))
                # Twice: by then the first worker of arq, and the work it ran, have ended.
                await world.watch.until(lambda: world.watch.parts.count("periodic") >= 2)
                assert health.failing == {"search"}
                server = await asyncio.to_thread(embedded_store.start, folder, environ=environ)
                await world.watch.until(
                    lambda: (Stage.RETRYING, Reason.RESENT_BY_RULE) in world.watch.stages
                )
            finally:
                await end_tasks([running])
                await duties.end()
            assert not health.failing
            assert [line["id"] for line in world.journaled() if line["e"] == "resolved"] == ["m1"]
    finally:
        server.stop()


class Refusing:
    """A store that always answers an error to calls about one message."""

    def __init__(self, part: Any, message_id: str) -> None:
        self._part = part
        self._message_id = message_id

    def __getattr__(self, name: str) -> Any:
        return getattr(self._part, name)

    async def resolve(self, resolutions: Any) -> Any:
        if resolutions[0].message_id == self._message_id:
            raise ResponseError("WRONGTYPE")
        return await self._part.resolve(resolutions)


async def test_an_attempt_the_store_refuses_to_resolve_does_not_hold_up_the_others(
    store: Place, tmp_path: Path
) -> None:
    """An attempt that the store refuses to resolve is left for a later run.

    The worker stays ready.
    """
    async with dispatching(store, tmp_path / "j", resetting) as world:
        await parked(world, "m1", on_unknown=OnUnknown.RESEND)
        await parked(world, "m2", on_unknown=OnUnknown.RESEND)
        await world.later(seconds=31)
        health = Health(world.observers.log, world.watch)
        unknowns: Any = Refusing(world.store.unknowns, "m1")
        search = replace(
            world.search(), unknowns=unknowns, store_retry=StoreRetry(health, lambda: 0.0)
        )
        async with asyncio.timeout(HANG_SECONDS):
            assert await search.turn() == 2
        assert (await world.stage("m1"), await world.stage("m2")) == ("unknown", "retrying")
        assert not health.failing


async def test_a_cancelled_message_is_not_told_as_sent_again(store: Place, tmp_path: Path) -> None:
    """A cancelled message is journaled as ended, not as sent again, although its rule would resend
    it.
    """
    async with dispatching(store, tmp_path / "j", resetting) as world:
        await parked(world, on_unknown=OnUnknown.RESEND)
        async with Producer(store.url, store.partition) as producer:
            assert await producer.cancel("m1") == "too_late"
        await world.later(seconds=31)
        assert await world.search().turn() == 1
        [line] = [line for line in world.journaled() if line["e"] == "resolved"]
        assert (line["stage"], line["reason"]) == ("cancelled", "cancelled")
        assert world.watch.stages[-1] == (Stage.CANCELLED, Reason.CANCELLED)


async def test_poison_is_a_dead_letter_whatever_its_rule(store: Place, tmp_path: Path) -> None:
    """Poison ends as a dead letter that says why, whatever its rule.

    Its rule stays as the producer wrote it.
    """
    async with dispatching(store, tmp_path / "j", resetting) as world:
        await parked(world, on_unknown=OnUnknown.RESEND)
        await world.redis.hset(world.store.keys.row("m1"), "po", "1")
        await world.later(seconds=31 + ABSENT_AFTER.total_seconds())
        assert await world.search().turn() == 1
        row = (await world.record()).row
        assert (row["s"], row["r"], row["u"], row["ps"]) == ("dead", "poison", "resend", "1")


async def test_a_turn_may_hear_what_the_store_did_before_it_ends(
    store: Place, tmp_path: Path
) -> None:
    """A run that is stopped between a call and its reply is not cut off at once, so that it can
    journal the result.
    """
    async with dispatching(store, tmp_path / "j") as world:
        asked, may_answer, told = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def turn() -> int:
            asked.set()
            await may_answer.wait()
            told.set()
            return 0

        store_retry = StoreRetry(Health(world.observers.log, world.watch), lambda: 0.0)
        duties = PeriodicWork(store.url, world.store.keys, store_retry, world.observers)
        duties.add("test", 1, turn, full=1)
        running = asyncio.create_task(duties.run())
        async with asyncio.timeout(HANG_SECONDS):
            await asked.wait()
        await end_tasks([running])
        ending = asyncio.create_task(duties.end())
        await asyncio.sleep(0)
        may_answer.set()
        await ending
        assert told.is_set()


async def test_whoever_is_cut_off_while_insisting_fails_no_longer(
    store: Place, tmp_path: Path
) -> None:
    """A store retry that is cancelled clears its failure.

    Nothing else would report that this part works again.
    """
    async with dispatching(store, tmp_path / "j") as world:
        health = Health(world.observers.log, world.watch)

        async def call() -> None:
            raise ConnectionError("away")

        insisting = asyncio.create_task(StoreRetry(health, lambda: 0.0).keep_trying("search", call))
        await world.watch.until(lambda: bool(world.watch.parts))
        assert health.failing == {"search"}
        await end_tasks([insisting])
        assert not health.failing


# -- statuses that stay away ---------------------------------------------------------------------


async def test_a_missing_status_is_fetched_once_it_is_overdue(store: Place, tmp_path: Path) -> None:
    """A status whose callback is overdue is fetched and moves forward as by a callback."""
    async with dispatching(store, tmp_path / "j", _accept) as world:
        await world.consents()
        await world.writes()
        await world.enqueue()
        await world.run_until(Stage.ACCEPTED)
        world.twilio.show(sid(1001), at=await world.store.now(), status="delivered")
        assert await world.reconciler().turn() == 0
        await world.later(minutes=16)
        assert await world.reconciler().turn() == 1
        assert (await world.record()).row["st"] == "delivered"
        fetched = [line for line in world.journaled() if line["e"] == "fetched"]
        assert [(line["sid"], line["status"], line["moved"]) for line in fetched] == [
            (sid(1001), "delivered", True)
        ]
        await world.later(hours=2)
        assert await world.reconciler().turn() == 0


async def test_a_missing_message_is_counted_and_only_by_twilios_own_word(
    store: Place, tmp_path: Path
) -> None:
    """Only Twilio's own 404 counts a message as missing; a proxy's 404 is a logged failure.

    The message stays as it is.
    """
    async with dispatching(store, tmp_path / "j", _accept) as world:
        await world.consents()
        await world.writes()
        await world.enqueue()
        await world.run_until(Stage.ACCEPTED)
        for is_behind_proxy in (True, False):
            await world.later(minutes=16 if is_behind_proxy else 180)
            world.twilio.is_behind_proxy = is_behind_proxy
            with capture_logs() as logs:
                assert await world.reconciler().turn() == 1
            unreadable_settlement = [
                (line["http"], line["code"]) for line in logs if line["event"] == "status_unread"
            ]
            assert unreadable_settlement == ([(404, None)] if is_behind_proxy else [])
        assert (await world.record()).row["s"] == Stage.ACCEPTED
        assert not [line for line in world.journaled() if line["e"] == "fetched"]


async def test_fetching_keeps_to_its_token_bucket(store: Place, tmp_path: Path) -> None:
    """A fetch that the token bucket does not allow now is made later."""
    async with dispatching(store, tmp_path / "j", _accept) as world:
        await world.consents()
        await world.writes()
        for number in range(3):
            await world.enqueue(f"m{number}")
        await world.run_until(Stage.ACCEPTED, 3)
        await world.later(minutes=16)
        assert await world.reconciler(TokenBucket(0.0, 2, lambda: 0.0)).turn() == 2
        assert world.twilio.reads == 2


async def test_a_budget_refills_with_time_and_remembers_debt() -> None:
    """Spending more than was left delays the next requests."""
    now = 0.0
    bucket = TokenBucket(2.0, 10, lambda: now)
    bucket.spend(12)
    assert bucket.left == 0
    now = 1.5
    assert bucket.left == 1
    now = 100.0
    assert bucket.left == 10
