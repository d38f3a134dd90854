"""What the pipeline charges for a message, and what becomes of one that a limit turns away."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from policies.decision import Content, FreeformContent, SeenRevisions, Send, TemplateContent, Trace
from policies.rate_limits import PAIR, Pace, pace
from sendwindow.contract import Freeform, SendMessage, Template
from sendwindow.vocabulary import Priority, Purpose, Reason, Stage
from tests.support.cast import GRETA
from tests.support.pipeline_world import dispatching
from tests.support.settings_examples import changed, parse
from tests.support.stores_world import Place
from worker.pipeline.charges import charge_of
from worker.ports.admissions import UNLIMITED, Charge, PortfolioLimit, PostLimit
from worker.settings.settings import Settings

NOW = datetime(2026, 12, 1, tzinfo=UTC)
CONTENT = "HX" + "4" * 32
HOUR = Pace(3_600_000_000, 0)
SETTINGS = parse(
    changed(
        "templates",
        "reminder",
        to={
            "category": "UTILITY",
            "variables": ["1"],
            "channels": ["sms"],
            "languages": {"en": {"sid": CONTENT, "body": "x" * 150 + "{{1}}"}},
        },
    )
)


def message(sender: str) -> SendMessage:
    return SendMessage(
        to=GRETA,
        sender=sender,
        purpose=Purpose.UTILITY,
        freeform=Freeform(body="hello"),
        template=Template(name="reminder", language="en", variables={"1": "y" * 20}),
    )


def send(content: Content) -> Send:
    trace = Trace("2026-12", NOW, ())
    seen = SeenRevisions(0, 0, 0)
    return Send(Reason.SMS_CONSENT, content, seen, NOW, timedelta(hours=1), trace)


LONG = FreeformContent("x" * 161)


@pytest.mark.parametrize(
    "sender, content, units",
    [
        ("alerts", FreeformContent("hello"), 1),
        ("alerts", LONG, 2),
        ("alerts", replace(LONG, media_url="https://example.com/a.jpg"), 1),
        ("alerts", TemplateContent(CONTENT, {"1": "y" * 20}), 2),
        ("alerts", TemplateContent("HX" + "9" * 32, {"1": "y" * 20}), 1),
        ("shop", LONG, 1),
        ("page", LONG, 1),
    ],
)
def test_an_sms_is_charged_in_segments(sender: str, content: Content, units: int) -> None:
    """WhatsApp and Messenger count messages, and so does an MMS."""
    assert charge_of(message(sender), send(content), SETTINGS).units == units


def test_each_limit_has_the_pace_of_its_setting() -> None:
    """The account, the sender and, on WhatsApp, the person."""
    charge = charge_of(message("shop"), send(LONG), SETTINGS)
    assert charge == Charge(1, pace(2000), pace(80), PAIR)


def test_an_urgent_message_is_charged_as_such() -> None:
    """It goes before what is booked to its person."""
    urgent = message("shop").model_copy(update={"priority": Priority.URGENT})
    assert charge_of(urgent, send(LONG), SETTINGS) == Charge(
        1, pace(2000), pace(80), PAIR, is_urgent=True
    )


def test_only_a_template_outside_an_open_window_is_charged_to_the_portfolio() -> None:
    """WhatsApp counts whom a business writes to first."""
    main = replace(SETTINGS.accounts["main"], portfolio="acme", people_per_day=250)
    limited_settings = replace(SETTINGS, accounts={"main": main})
    closed = replace(
        send(TemplateContent(CONTENT, {"1": "y"})), reason=Reason.TEMPLATE_WINDOW_CLOSED
    )
    open_window = replace(closed, reason=Reason.TEMPLATE_NEAR_EDGE)

    def charged(sender: str, decision: Send) -> PortfolioLimit | None:
        return charge_of(message(sender), decision, limited_settings).portfolio

    assert charged("shop", closed) == PortfolioLimit("acme", 250)
    assert charged("shop", open_window) is None
    assert charged("alerts", closed) is None
    assert charge_of(message("shop"), closed, SETTINGS).portfolio is None


def test_an_open_post_counts_as_long_as_it_can_last() -> None:
    """A POST lasts no longer than the permit and the timeouts of the worker."""
    accounts = {"main": replace(SETTINGS.accounts["main"], max_open_posts=5)}
    charge = charge_of(message("shop"), send(LONG), replace(SETTINGS, accounts=accounts))
    assert charge.posts == PostLimit(5, timedelta(seconds=37))


def limited(settings: Settings, sender: Pace | None, pair: Pace | None) -> Settings:
    """Return settings with limits of the sender `shop`."""
    shop = replace(settings.senders["shop"], pace=sender, pair_pace=pair)
    return replace(settings, senders={**settings.senders, "shop": shop})


def test_without_limits_nothing_is_charged() -> None:
    """Limits that are switched off cost nothing."""
    accounts = {"main": replace(SETTINGS.accounts["main"], pace=None)}
    free = limited(replace(SETTINGS, accounts=accounts), None, None)
    assert charge_of(message("shop"), send(LONG), free) == UNLIMITED


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "sender, pair, reason", [(HOUR, None, "sender_rate"), (None, HOUR, "pair_rate")]
)
async def test_a_message_beyond_the_limit_waits(
    store: Place, tmp_path: Path, sender: Pace | None, pair: Pace | None, reason: str
) -> None:
    """The second message is posted only when the charge of the first is worked off."""
    async with dispatching(store, tmp_path / "j") as world:
        world.settings = limited(world.settings, sender, pair)
        await world.consents()
        await world.writes()
        await world.enqueue("m1")
        await world.run_until(Stage.ACCEPTED)
        await world.enqueue("m2")
        await world.run_until(Stage.WAITING)
        assert (await world.record("m2")).row["r"] == reason
        assert len(world.twilio.posts) == 1
        await world.later(hours=1)
        await world.run_until(Stage.ACCEPTED, 2)
        assert len(world.twilio.posts) == 2
