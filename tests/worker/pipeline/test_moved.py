"""A sender or a template that another worker has configured differently, or that no worker has."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from sendwindow.contract import Template
from sendwindow.vocabulary import Reason, Stage
from tests.support.pipeline_world import (
    Between,
    Twilio,
    World,
    accepting,
    dispatching,
)
from tests.support.stores_world import Place
from tests.support.waiting import HANG_SECONDS
from worker import services
from worker.ports.admissions import Admission, AdmitRequest
from worker.services import GatewayService, WorkerService
from worker.settings.settings import Settings
from worker.stores.store import StoreRefused
from worker.wiring import check_names, register

pytestmark = pytest.mark.asyncio


async def test_a_stop_at_the_old_account_is_not_passed_by(store: Place, tmp_path: Path) -> None:
    """A worker with the sender's old account leaves the message to others, so it passes by no STOP.

    The facts belong to the new account.
    """
    async with dispatching(store, tmp_path / "j") as world:
        await world.consents()
        await world.writes(keyword="stop")
        await world.store.register_senders({"shop": "second"})
        await world.enqueue()
        await world.run_until(Stage.QUEUED)
        assert (await world.stage(), await world.reason()) == ("queued", Reason.FACTS_CHANGED)
        assert world.twilio.posts == []
        await world.store.register_senders({"shop": "main"})
        await world.later(seconds=15)
        await world.run_until(Stage.REFUSED)
        assert await world.reason() == Reason.OPTED_OUT
        assert world.twilio.posts == []


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        (
            {"accounts": {"prod": "main"}},
            "accounts.prod: .* as accounts.main .* call it main again",
        ),
        ({"senders": {"store": "shop"}}, "senders.store: .* as senders.shop .* call it shop again"),
        (
            {"address": "whatsapp:+14155550199"},
            "senders.shop: .* give the new address a sender of its own",
        ),
    ],
)
async def test_a_name_never_comes_to_mean_another(
    store: Place, tmp_path: Path, changes: dict[str, Any], remedy: str
) -> None:
    """Stops, consents and windows belong to names, so a name may not come to mean another
    sender.
    """
    async with dispatching(store, tmp_path / "j") as world:
        await world.writes(keyword="stop")
        renamed = _renamed(world.settings, **changes)
        for _ in range(2):
            with pytest.raises(StoreRefused, match=remedy):
                await register(world.store, renamed)
            with pytest.raises(StoreRefused, match=remedy):
                await check_names(world.store, renamed, reading=True)
        await register(world.store, world.settings)


def _renamed(
    settings: Settings,
    accounts: dict[str, str] | None = None,
    senders: dict[str, str] | None = None,
    address: str = "",
) -> Settings:
    """Return settings with new names for accounts and senders, or a new address for the shop."""
    for name, known in (accounts or {}).items():
        account = replace(settings.accounts[known], name=name)
        moved = {each.name: replace(each, account=name) for each in settings.senders.values()}
        settings = replace(settings, accounts={name: account}, senders=moved)
    for name, known in (senders or {}).items():
        settings = replace(settings, senders={name: replace(settings.senders[known], name=name)})
    if address:
        settings = replace(
            settings, senders={"shop": replace(settings.senders["shop"], address=address)}
        )
    return settings


class Moving(Between):
    """Moves the sender between decision and permit."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._store = world.store

    async def admit(self, requests: Sequence[AdmitRequest]) -> list[Admission]:
        await self._store.register_senders({"shop": "second"})
        return await self._ledger.admit(requests)


async def test_a_move_after_the_decision_gives_the_message_back_once(
    store: Place, tmp_path: Path
) -> None:
    """A message whose sender moved to another account after the decision is released once.

    Deciding it again here would change nothing, so it waits for a worker of that account.
    """
    async with dispatching(store, tmp_path / "j") as world:
        await world.consents()
        await world.writes()
        await world.enqueue()
        await world.run_until(Stage.QUEUED, ledger=Moving(world))
        assert [line["e"] for line in world.journaled()] == ["claimed", "decided", "settled"]
        assert (await world.store.ledger.claim(1)).claimed == ()
        assert world.twilio.posts == []


async def test_a_message_of_a_moved_sender_still_expires(store: Place, tmp_path: Path) -> None:
    """A message of a moved sender expires like any other if no worker of that account claims it."""
    async with dispatching(store, tmp_path / "j") as world:
        await world.store.register_senders({"shop": "second"})
        await world.enqueue()
        await world.later(hours=25)
        await world.run_until(Stage.EXPIRED)


GONE: dict[str, tuple[dict[str, Any], Reason]] = {
    "a sender": ({"sender": "page", "to": "messenger:2000000002"}, Reason.UNKNOWN_SENDER),
    "a template": (
        {
            "freeform": None,
            "template": Template(name="order", language="en", variables={"1": "A-1"}),
        },
        Reason.UNKNOWN_TEMPLATE,
    ),
    "an account": ({}, Reason.UNKNOWN_SENDER),
}


async def _without(world: World, what: str) -> Settings:
    """Return a worker's settings without the sender or template, or with the sender moved away."""
    settings = world.settings
    if what == "an account":
        await world.store.register_senders({"shop": "second"})
        return settings
    if what == "a template":
        return replace(settings, templates={})
    return replace(settings, senders={"shop": settings.senders["shop"]})


@pytest.mark.parametrize("what", GONE)
async def test_an_unknown_message_is_refused(store: Place, tmp_path: Path, what: str) -> None:
    """A message of a removed sender is refused half an hour after the last worker that knew it."""
    wish, reason = GONE[what]
    async with dispatching(store, tmp_path / "j") as world:
        world.settings = await _without(world, what)
        await world.consents()
        await world.enqueue(**wish)
        await world.run_until(Stage.QUEUED)
        await world.later(minutes=29)
        await world.run_until(Stage.QUEUED, 2)
        await world.later(minutes=2)
        await world.run_until(Stage.REFUSED)
        assert await world.reason() == reason
        assert world.twilio.posts == []


async def test_a_message_left_to_others_again_and_again_does_not_grow(
    store: Place, tmp_path: Path
) -> None:
    """A message that is left to others again and again does not grow.

    It comes back ever later, at most every minute, and its timeline names the reason once.
    """
    async with dispatching(store, tmp_path / "j") as world:
        await world.store.register_senders({"shop": "second"})
        await world.enqueue()
        await world.run_until(Stage.QUEUED)
        for turn, seconds in enumerate((15, 60, 60), 2):
            await world.later(seconds=seconds)
            await world.run_until(Stage.QUEUED, turn)
        await world.later(seconds=30)
        assert (await world.store.ledger.claim(1)).claimed == ()
        assert [line["e"] for line in (await world.record()).timeline].count("queued") == 1


async def test_a_worker_that_lives_keeps_its_names(store: Place, tmp_path: Path) -> None:
    """A running worker keeps the names of its senders, however long a deployment takes.

    Messages that another worker can send are left to that worker; a worker that cannot send them
    does not count.
    """
    async with dispatching(store, tmp_path / "j") as world:
        await world.store.register_senders({"shop": "second"})
        await world.enqueue()
        for turn in (1, 2):
            await world.later(minutes=20)
            await world.store.register_senders({"shop": "second"}, overwrite=False)
            await world.run_until(Stage.QUEUED, turn)
        await world.later(minutes=31)
        await register(world.store, world.settings, overwrite=False)
        await world.run_until(Stage.REFUSED)


async def test_a_lost_registration_decides_nothing(store: Place, tmp_path: Path) -> None:
    """A message whose sender's registration was lost is neither sent nor refused until it is
    registered.
    """
    async with dispatching(store, tmp_path / "j") as world:
        await world.consents()
        await world.writes()
        await world.redis.delete(world.store.keys.sender("shop"))
        await world.enqueue()
        await world.run_until(Stage.QUEUED)
        assert await world.reason() == Reason.FACTS_CHANGED
        await register(world.store, world.settings, overwrite=False)
        await world.later(seconds=1)
        await world.run_until(Stage.ACCEPTED)


async def test_a_worker_registers_again_what_the_store_lost(
    store: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker registers again what a failover lost, without a new process."""
    monkeypatch.setattr("worker.registration.REGISTER_SECONDS", 0.05)
    heard = asyncio.Queue[str]()

    async def answer(twilio: Twilio, form: dict[str, str]) -> web.StreamResponse:
        heard.put_nowait(form["Body"])
        return await accepting(twilio, form)

    async with dispatching(store, tmp_path / "j", answer) as world, asyncio.timeout(HANG_SECONDS):
        await world.consents()
        await world.writes()
        service = WorkerService(world.stored_settings)
        running = asyncio.create_task(service.run())
        try:
            await world.enqueue()
            await heard.get()
            await world.redis.delete(world.store.keys.sender("shop"))
            await world.enqueue("m2")
            await heard.get()
        finally:
            await service.stop()
            await running


async def test_a_gateway_of_older_settings_moves_no_sender(
    store: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway with older settings moves no sender.

    It sends nothing, and would only stop the workers.
    """
    is_listening = asyncio.Event()
    monkeypatch.setattr(services, "_say_started", lambda *_: is_listening.set())
    async with dispatching(store, tmp_path / "j") as world, asyncio.timeout(HANG_SECONDS):
        await world.store.register_senders({"shop": "second"})
        await world.redis.delete(world.store.keys.sender("page"))
        settings = world.stored_settings
        service = GatewayService(replace(settings, gateway=replace(settings.gateway, port=0)))
        running = asyncio.create_task(service.run())
        try:
            await is_listening.wait()
        finally:
            await service.stop()
            await running
        accounts = [
            await world.redis.hget(world.store.keys.sender(name), "a") for name in ("shop", "page")
        ]
        assert accounts == [b"second", b"main"]
