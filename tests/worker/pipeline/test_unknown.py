"""Evidence about an unknown attempt in Twilio's list, and lists that prove nothing."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from sandbox.app import running
from sandbox.config import SandboxAccount, SandboxConfig, SandboxSettings
from sandbox.faults import Action, FaultRule, Match
from sendwindow.vocabulary import OnUnknown, Stage
from tests.support.cast import ACCOUNT_SID, GRETA, KLARA, SHOP, sid
from tests.support.pipeline_world import Twilio, dispatching, dispatching_to, resetting
from tests.support.settings_examples import TOKEN
from tests.support.stores_world import Place
from tests.support.unknown_world import ABSENT_AFTER, accept, known_message, look_after, parked
from worker.pipeline.token_bucket import TokenBucket

pytestmark = pytest.mark.asyncio


BRAZIL, BRAZIL_SHORT = "whatsapp:+5511995550123", "whatsapp:+551195550123"


TRUNK: Final = "whatsapp:+4407700900124"


USER_ID: Final = "whatsapp:US.1a2b3c4d"


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
        world.twilio.answer = accept
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
    account = SandboxAccount(sid=ACCOUNT_SID, token=TOKEN)
    config = SandboxConfig(
        accounts=(account,), settings=SandboxSettings(shows_phones=True, statuses={})
    )
    async with (
        running(config) as (url, sandbox),
        dispatching_to(Twilio(accept, url), store, tmp_path / "j") as world,
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
    account = SandboxAccount(sid=ACCOUNT_SID, token=TOKEN)
    config = SandboxConfig(
        accounts=(account,), settings=SandboxSettings(shows_own_spelling=True, statuses={})
    )
    async with (
        running(config) as (url, sandbox),
        dispatching_to(Twilio(accept, url), store, tmp_path / "j") as world,
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


async def test_an_empty_token_bucket_leaves_the_attempt_for_later(
    store: Place, tmp_path: Path
) -> None:
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
