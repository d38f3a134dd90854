"""A message on its way through a worker, with a real store and real sockets."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiohttp import web
from structlog.testing import capture_logs

from policies.facts import Approval
from policies.status import describe
from sendwindow.contract import Freeform, Template
from sendwindow.vocabulary import OnUnknown, Purpose, Reason, Stage, WhenClosed
from tests.support.cast import GRETA, MIA, sid
from tests.support.pipeline_world import (
    Between,
    Twilio,
    World,
    accepting,
    dispatching,
    rejecting,
    resetting,
)
from tests.support.stores_world import Place
from tests.support.twilio_parameters import PARAMETERS
from worker.ports.admissions import Admission, AdmitRequest, Permit
from worker.ports.claims import ClaimBatch
from worker.ports.effects import Effect, OptOut, SetTag, SuppressAddress
from worker.ports.people import Inbound
from worker.ports.settlements import SettleAgain, Settlement
from worker.ports.statuses import StatusUpdate
from worker.settings.schema import TemplateLanguage
from worker.settings.settings import Settings
from worker.wiring import register

pytestmark = pytest.mark.asyncio

NEW_CONTENT = "HX" + "9" * 32


async def test_a_message_goes_from_queue_to_acceptance(store: Place, tmp_path: Path) -> None:
    """Claim, decision, intent, reply and settlement are journaled in this order, and Twilio gets
    one form.
    """
    async with dispatching(store, tmp_path / "j") as world:
        await world.consents()
        await world.writes()
        await world.enqueue()
        await world.run_until(Stage.ACCEPTED)
        record = await world.record()
        assert (record.row["s"], record.row["sid"]) == ("accepted", sid(1))
        (form,) = world.twilio.posts
        assert form["Body"] == "hello"
        named = f"m=m1&q={record.row['q']}&a=1"
        assert (
            form["StatusCallback"] == f"https://hooks.example.com/twilio/status?{named}#rc=5&rp=all"
        )
        assert set(form) <= PARAMETERS
        lines = world.journaled()
        assert [line["e"] for line in lines] == [
            "claimed",
            "decided",
            "intent",
            "replied",
            "settled",
        ]
        assert lines[1]["form"] == "freeform"
        assert lines[3] == lines[3] | {
            "reply": "accepted",
            "sid": sid(1),
            "http": 201,
            "attempt": 1,
        }
        assert lines[4] == lines[4] | {"stage": "accepted", "applied": True}
        assert GRETA not in world.journal_path.read_text()


async def test_many_messages_all_arrive_once(store: Place, tmp_path: Path) -> None:
    """With more messages than slots each one is accepted, and none is posted twice."""
    async with dispatching(store, tmp_path / "j", slots=4) as world:
        await world.consents()
        await world.writes()
        for number in range(60):
            await world.enqueue(f"m{number}")
        await world.run_until(Stage.ACCEPTED, 60)
        assert len(world.twilio.posts) == 60
        assert len({form["StatusCallback"] for form in world.twilio.posts}) == 60


# -- messages that must not be sent ----------------------------------------------------------------


@pytest.mark.parametrize(
    "wish, stage, reason",
    [
        pytest.param({}, "refused", "no_consent", id="nobody-asked-anna"),
        pytest.param({"sender": "gone"}, "refused", "unknown_sender", id="unknown-sender"),
        pytest.param({"sender": "page"}, "refused", "channel_mismatch", id="wrong-channel"),
    ],
)
async def test_a_refusal_is_an_end_without_a_post(
    store: Place, tmp_path: Path, wish: dict[str, Any], stage: str, reason: str
) -> None:
    """A refused message ends with its reason, without a POST."""
    async with dispatching(store, tmp_path / "j") as world:
        await world.enqueue(**wish)
        await world.run_until(Stage.REFUSED)
        assert (await world.stage(), await world.reason()) == (stage, reason)
        assert world.twilio.posts == []


CONFIGURED_LATER: dict[str, tuple[dict[str, Any], str]] = {
    "a sender": ({"sender": "new"}, "unknown_sender"),
    "a template": ({"freeform": None, "template": Template(name="new")}, "unknown_template"),
    "a template by its ContentSid": (
        {"freeform": None, "template": Template(name=NEW_CONTENT)},
        "unknown_template",
    ),
    "a language": (
        {"freeform": None, "template": Template(name="old", language="de")},
        "template_language",
    ),
    "a template, and it may wait": (
        {"template": Template(name="new"), "when_closed": WhenClosed.WAIT},
        "unknown_template",
    ),
}


def _configured_later(settings: Settings) -> Settings:
    sender = replace(settings.senders["shop"], name="new", address="whatsapp:+14155550101")
    old = replace(settings.templates["order"], name="old", variables=frozenset())
    german = TemplateLanguage("HX" + "8" * 32, Approval.APPROVED)
    new = replace(
        old, name="new", languages={"en": TemplateLanguage(NEW_CONTENT, Approval.APPROVED)}
    )
    templates = {"old": replace(old, languages={**old.languages, "de": german}), "new": new}
    return replace(settings, senders={**settings.senders, "new": sender}, templates=templates)


@pytest.mark.parametrize("what", CONFIGURED_LATER)
async def test_what_another_worker_is_configured_for_is_left_to_it(
    store: Place, tmp_path: Path, what: str
) -> None:
    """A worker leaves a message with an unknown sender to workers with newer settings."""
    wish, reason = CONFIGURED_LATER[what]
    async with dispatching(store, tmp_path / "j") as world:
        newer = _configured_later(world.settings)
        await register(world.store, newer)
        world.settings = replace(
            newer, senders=world.settings.senders, templates=world.settings.templates
        )
        if what == "a language":
            world.settings = replace(
                newer, templates={"old": replace(newer.templates["old"], languages={})}
            )
        await world.consents()
        if what == "a sender":
            await world.writes(sender="new")
        await world.enqueue(**wish)
        with capture_logs() as logs:
            world.observers = replace(world.observers, log=structlog.get_logger())
            await world.run_until(Stage.QUEUED)
        assert (await world.stage(), await world.reason()) == ("queued", reason)
        assert [line["log_level"] for line in logs if line["event"] == "configured_elsewhere"] == [
            "warning"
        ]
        world.settings = newer
        await world.later(seconds=15)
        await world.run_until(Stage.ACCEPTED)


async def test_what_is_left_to_another_worker_still_expires(store: Place, tmp_path: Path) -> None:
    """A message left to another worker expires like any other if no worker can send it."""
    async with dispatching(store, tmp_path / "j") as world:
        await register(world.store, _configured_later(world.settings))
        await world.consents()
        await world.enqueue(sender="new")
        await world.run_until(Stage.QUEUED)
        await world.later(hours=25)
        await world.run_until(Stage.EXPIRED)


async def test_an_expired_message_ends_as_expired(store: Place, tmp_path: Path) -> None:
    """Nothing is sent at or after expiry."""
    async with dispatching(store, tmp_path / "j") as world:
        await world.consents()
        await world.writes()
        await world.enqueue()
        await world.later(hours=25)
        await world.run_until(Stage.EXPIRED)
        assert world.twilio.posts == []


async def test_an_unreadable_job_becomes_a_dead_letter(store: Place, tmp_path: Path) -> None:
    """An unreadable job becomes a dead letter with its bytes, and other messages go on."""
    async with dispatching(store, tmp_path / "j") as world:
        await world.consents()
        await world.writes()
        await world.enqueue("broken")
        await world.redis.set(world.store.keys.job("broken"), b"\x80\x04garbage")
        await world.enqueue("good")
        await world.run_until(Stage.ACCEPTED)
        assert (await world.stage("broken"), await world.reason("broken")) == ("dead", "unreadable")


async def test_a_message_that_may_wait_goes_when_the_person_writes(
    store: Place, tmp_path: Path
) -> None:
    """A message that waits for an inbound has its own stage, and the inbound releases it at
    once.
    """
    async with dispatching(store, tmp_path / "j") as world:
        await world.consents()
        await world.enqueue(when_closed=WhenClosed.WAIT)
        async with world.working():
            await world.watch.until(
                lambda: (Stage.WAITING, Reason.AWAITING_INBOUND) in world.watch.stages
            )
            await world.writes()
            await world.watch.until(lambda: (Stage.ACCEPTED, Reason.ACCEPTED) in world.watch.stages)
        assert len(world.twilio.posts) == 1


# -- facts that change under a decision ----------------------------------------------------------


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
    pytest.param(lambda w: w.producer.cancel("m1"), "cancelled", "cancelled", id="cancelled"),
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
        await world.enqueue()
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


# -- permits -------------------------------------------------------------------------------------


class Lapsing(Between):
    """Grants a first permit that has lapsed when it arrives."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.lapsed = 0

    async def admit(self, requests: Sequence[AdmitRequest]) -> list[Admission]:
        admissions = await self._ledger.admit(requests)
        if self.lapsed:
            return list(admissions)
        self.lapsed += 1
        return [
            replace(one, lapses_at=0.0) if isinstance(one, Permit) else one for one in admissions
        ]


async def test_a_lapsed_permit_gives_the_message_back_without_a_try(
    store: Place, tmp_path: Path
) -> None:
    """A permit that lapsed before the POST costs no try, and the next attempt sends."""
    async with dispatching(store, tmp_path / "j") as world:
        await world.consents()
        await world.writes()
        await world.enqueue()
        await world.run_until(Stage.ACCEPTED, ledger=Lapsing(world))
        assert world.watch.stages[0] == (Stage.QUEUED, Reason.PERMIT_LAPSED)
        (form,) = world.twilio.posts
        assert "a=2#" in form["StatusCallback"]


async def test_the_same_template_by_its_content_sid_has_the_same_state(
    store: Place, tmp_path: Path
) -> None:
    """A template's state holds under its name and under its ContentSid."""
    async with dispatching(store, tmp_path / "j", rejecting(63040)) as world:
        await world.consents()
        for message_id, name, stage in (
            ("m1", "order", Stage.FAILED),
            ("m2", "HX" + "0" * 32, Stage.REFUSED),
            ("m3", "order", Stage.REFUSED),
        ):
            wish = Template(name=name, language="en", variables={"1": "A-1"})
            await world.enqueue(message_id, freeform=None, template=wish)
            await world.run_until(stage, 1 if message_id != "m3" else 2)
        assert len(world.twilio.posts) == 1


async def test_an_error_of_one_language_stops_no_other(store: Place, tmp_path: Path) -> None:
    """63027 stops the ContentSid that was sent; the template's other languages go on."""
    async with dispatching(store, tmp_path / "j", rejecting(63027)) as world:
        await world.consents()
        for message_id, language, stage, count in (
            ("m1", "de", Stage.FAILED, 1),
            ("m2", "de", Stage.REFUSED, 1),
            ("m3", "en", Stage.ACCEPTED, 1),
        ):
            wish = Template(name="order", language=language, variables={"1": "A-1"})
            await world.enqueue(message_id, freeform=None, template=wish)
            await world.run_until(stage, count)
        assert await world.reason("m2") == "template_not_approved"
        assert [post["ContentSid"] for post in world.twilio.posts] == [
            "HX" + "1" * 32,
            "HX" + "0" * 32,
        ]


@pytest.mark.parametrize("is_told", [True, False], ids=["store told", "store not yet told"])
async def test_a_corrected_content_sid_counts_at_once(
    store: Place, tmp_path: Path, is_told: bool
) -> None:
    """A corrected ContentSid counts at once, since its state is unknown.

    A worker with the old one goes by the one that it would send.
    """
    wish = Template(name="order", language="en", variables={"1": "A-1"})
    async with dispatching(store, tmp_path / "j", rejecting(63040)) as world:
        await world.consents()
        await world.enqueue(freeform=None, template=wish)
        await world.run_until(Stage.FAILED)
        old = world.settings
        languages = {"en": TemplateLanguage("HX" + "2" * 32)}
        world.settings = replace(
            old, templates={"order": replace(old.templates["order"], languages=languages)}
        )
        if is_told:
            await register(world.store, world.settings)
        await world.enqueue("m2", freeform=None, template=wish)
        await world.run_until(Stage.ACCEPTED)
        world.settings = old
        await world.enqueue("m3", freeform=None, template=wish)
        await world.run_until(Stage.REFUSED)
        assert [post["ContentSid"] for post in world.twilio.posts] == [
            "HX" + "0" * 32,
            "HX" + "2" * 32,
        ]


async def test_21610_stops_every_sender_of_the_messaging_service(
    store: Place, tmp_path: Path
) -> None:
    """21610 stops every sender of the messaging service, and START to any of them undoes it."""
    async with dispatching(store, tmp_path / "j", rejecting(21610)) as world:
        shop = replace(world.settings.senders["shop"], messaging_service_sid="MG" + "1" * 32)
        second = replace(shop, name="second", address="whatsapp:+14155550101")
        world.settings = replace(world.settings, senders={"shop": shop, "second": second})
        await register(world.store, world.settings)
        await world.consents()
        for sender in ("shop", "second"):
            await world.writes(sender=sender)
        await world.enqueue()
        await world.run_until(Stage.FAILED)
        await world.enqueue("m2", sender="second")
        await world.run_until(Stage.REFUSED)
        assert await world.reason("m2") == "opted_out"
        await world.writes(sender="second", keyword="start")
        await world.enqueue("m3")
        await world.run_until(Stage.ACCEPTED)
        assert len(world.twilio.posts) == 2


# -- what Twilio answers -------------------------------------------------------------------------


async def test_an_unproven_outcome_is_parked_and_bound_by_a_callback_that_names_its_attempt(
    store: Place, tmp_path: Path
) -> None:
    """A reset after the request was read parks the message; a signed callback proves it accepted.

    There is one POST.
    """
    async with dispatching(store, tmp_path / "j", resetting) as world:
        await world.consents()
        await world.writes()
        await world.enqueue()
        await world.run_until(Stage.UNKNOWN)
        assert (await world.stage(), await world.reason()) == ("unknown", "outcome_connection_lost")
        step = describe("sent")
        update = StatusUpdate(
            sid(9), "sent", step.rank, step.is_final, step.is_failure, None, "m1", 1
        )
        (applied,) = await world.store.statuses.apply([update])
        assert applied.resolved
        record = await world.record()
        assert (record.row["s"], record.row["sid"], record.row["st"]) == (
            "accepted",
            sid(9),
            "sent",
        )
        assert len(world.twilio.posts) == 1


async def test_a_closed_window_at_twilio_is_learnt_and_decided_once_more(
    store: Place, tmp_path: Path
) -> None:
    """63016 for a freeform closes our record, and the second decision takes the template."""
    async with dispatching(store, tmp_path / "j", rejecting(63016)) as world:
        await world.consents()
        await world.writes()
        await world.enqueue(template=Template(name="order", language="en", variables={"1": "A-1"}))
        await world.run_until(Stage.ACCEPTED)
        first, second = world.twilio.posts
        assert first["Body"] == "hello"
        assert second["ContentSid"] == "HX" + "0" * 32


async def test_an_opt_out_at_twilio_ends_the_message_and_stops_the_next(
    store: Place, tmp_path: Path
) -> None:
    """21610 is recorded as an opt-out, and later messages are refused without a POST."""
    async with dispatching(store, tmp_path / "j", rejecting(21610)) as world:
        await world.consents()
        await world.writes()
        await world.enqueue()
        await world.run_until(Stage.FAILED)
        record = await world.record()
        assert (record.row["s"], record.row["c"]) == ("failed", "21610")
        await world.enqueue("m2")
        await world.run_until(Stage.REFUSED)
        assert await world.reason("m2") == "opted_out"
        assert len(world.twilio.posts) == 1


async def test_too_many_requests_are_tried_again_safely(store: Place, tmp_path: Path) -> None:
    """429 with 20429 was not processed, so the message goes out later, once."""
    async with dispatching(store, tmp_path / "j", rejecting(20429, 429)) as world:
        await world.consents()
        await world.writes()
        await world.enqueue()
        async with world.working():
            await world.watch.until(
                lambda: (Stage.RETRYING, Reason.THROTTLED) in world.watch.stages
            )
            await world.later(seconds=30)
            await world.watch.until(lambda: (Stage.ACCEPTED, Reason.ACCEPTED) in world.watch.stages)
        assert len(world.twilio.posts) == 2


async def test_refused_credentials_stop_the_account_not_the_message(
    store: Place, tmp_path: Path
) -> None:
    """20003 pauses the account; the message stays queued and others are not tried."""
    async with dispatching(store, tmp_path / "j", rejecting(20003, 401)) as world:
        await world.consents()
        await world.writes()
        await world.enqueue()
        await world.run_until(Stage.RETRYING)
        assert await world.reason() == "account_paused"
        await world.enqueue("m2")
        batch = await world.store.ledger.claim(10)
        assert batch.claimed == ()


async def test_nobody_listening_is_proven_not_sent_and_tried_again(
    store: Place, tmp_path: Path
) -> None:
    """A refused connection uses no try and ends nothing."""
    async with dispatching(store, tmp_path / "j") as world:
        await world.consents()
        await world.writes()
        await world.enqueue()
        working = world.client._accounts["main"]
        gone = replace(working, messages=working.messages.with_port(1))
        world.client._accounts["main"] = gone
        async with world.working():
            await world.watch.until(lambda: (Stage.RETRYING, Reason.NOT_SENT) in world.watch.stages)
            world.client._accounts["main"] = working
            await world.later(seconds=30)
            await world.watch.until(lambda: (Stage.ACCEPTED, Reason.ACCEPTED) in world.watch.stages)
        assert len(world.twilio.posts) == 1


async def test_a_late_reply_is_evidence_for_its_own_attempt(store: Place, tmp_path: Path) -> None:
    """A worker that lost its lease during the POST still proves the outcome of its attempt."""
    gate = asyncio.Event()
    asked = asyncio.Event()

    async def slow(twilio: Twilio, form: dict[str, str]) -> web.StreamResponse:
        asked.set()
        await gate.wait()
        return await accepting(twilio, form)

    async with dispatching(store, tmp_path / "j", slow) as world:
        await world.consents()
        await world.writes()
        await world.enqueue(on_unknown=OnUnknown.HOLD)
        async with world.working():
            await asked.wait()
            await world.later(seconds=60)
            (reaped,) = await world.store.ledger.reap(10)
            assert reaped.stage is Stage.UNKNOWN
            gate.set()
            await world.watch.until(lambda: (Stage.ACCEPTED, Reason.ACCEPTED) in world.watch.stages)
        record = await world.record()
        assert (record.row["s"], record.row["sid"], record.row["r"]) == (
            "accepted",
            sid(1),
            "evidence_late_reply",
        )


async def test_media_and_messenger_go_out_too(store: Place, tmp_path: Path) -> None:
    """A Page's freeform with a media URL goes out in the open window."""
    async with dispatching(store, tmp_path / "j") as world:
        await world.store.people.apply_inbound([Inbound(sid(77), "page", "main", MIA)])
        wish = Freeform(body="see", media_url="https://example.com/a.png")
        await world.enqueue(to=MIA, sender="page", purpose=Purpose.REPLY, freeform=wish)
        await world.run_until(Stage.ACCEPTED)
        (form,) = world.twilio.posts
        assert (form["To"], form["MediaUrl"]) == (MIA, "https://example.com/a.png")
