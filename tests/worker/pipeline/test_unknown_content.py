"""An attempt is recognized by its content, and only by that."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from sendwindow.contract import Template
from sendwindow.vocabulary import OnUnknown
from tests.support.cast import KLARA, sid
from tests.support.pipeline_world import dispatching, resetting
from tests.support.stores_world import Place
from tests.support.unknown_world import ABSENT_AFTER, known_message, look_after, parked

pytestmark = pytest.mark.asyncio


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
