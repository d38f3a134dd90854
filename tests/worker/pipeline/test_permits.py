"""No POST begins without a permit that holds."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from sendwindow.contract import Template
from sendwindow.vocabulary import Reason, Stage
from tests.support.pipeline_world import (
    Between,
    World,
    dispatching,
    rejecting,
)
from tests.support.stores_world import Place
from worker.ports.admissions import Admission, AdmitRequest, Permit
from worker.settings.schema import TemplateLanguage
from worker.wiring import register

pytestmark = pytest.mark.asyncio


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
