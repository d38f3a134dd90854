"""Messages take the five steps of the pipeline, or are refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from policies.facts import Approval
from sendwindow.contract import Template
from sendwindow.vocabulary import Reason, Stage, WhenClosed
from tests.support.cast import GRETA, sid
from tests.support.pipeline_world import (
    dispatching,
)
from tests.support.stores_world import Place
from tests.support.twilio_parameters import PARAMETERS
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
