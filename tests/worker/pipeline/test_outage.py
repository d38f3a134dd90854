"""An outage of Twilio costs a few unknown outcomes, and not the backlog."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from sendwindow.vocabulary import Reason, Stage
from tests.support.dispatcher_steps import known
from tests.support.pipeline_world import Answer, Twilio, World, accepting, dispatching, resetting
from tests.support.stores_world import Place
from tests.support.waiting import until
from worker.pipeline.account_gate import AccountGate

pytestmark = pytest.mark.asyncio

ACCEPTED = (Stage.ACCEPTED, Reason.ACCEPTED)
SLOTS = 8
OPEN = 6
"""POSTs that are open when an outage begins. Some slots are kept for urgent messages."""
BACKLOG = 120


async def unavailable(twilio: Twilio, form: dict[str, str]) -> web.StreamResponse:
    """Answer like a server that is overloaded."""
    return web.json_response({}, status=503)


class Outage:
    """A Twilio that accepts, until it fails. `failed`: POSTs that failed.

    `at_once`: POSTs that were open when it began. They fail with it.
    """

    def __init__(self, failing: Answer, after: int) -> None:
        self.failing, self.after = failing, after
        self.failed = 0
        self.at_once = 0
        self.is_over = False
        self._began = asyncio.Event()
        self._open = 0

    async def __call__(self, twilio: Twilio, form: dict[str, str]) -> web.StreamResponse:
        if self.is_over or len(twilio.posts) <= self.after:
            return await accepting(twilio, form)
        if not self._began.is_set():
            self._open += 1
            if self._open < OPEN:
                await self._began.wait()
            else:
                self.at_once = self._open
                self._began.set()
        self.failed += 1
        return await self.failing(twilio, form)


def unknowns(world: World) -> int:
    return sum(stage is Stage.UNKNOWN for stage, _ in world.watch.stages)


@pytest.mark.parametrize("failing", [unavailable, resetting])
async def test_an_outage_leaves_the_backlog_alone_and_it_flows_afterwards(
    store: Place, tmp_path: Path, failing: Answer
) -> None:
    """Unknown outcomes are at most the POSTs that were open when it began, and five more.

    One message tries while it lasts. When it is over, the backlog goes out without help.
    """
    outage = Outage(failing, after=20)
    async with dispatching(store, tmp_path / "j", outage, slots=SLOTS) as world:
        await known(world, BACKLOG)
        with capture_logs() as lines:
            async with world.working():
                await world.watch.until(lambda: outage.failed > OPEN)
                failed = outage.failed
                outage.is_over = True
                await world.later(seconds=10)
                await world.watch.until(
                    lambda: world.watch.stages.count(ACCEPTED) >= BACKLOG - failed
                )
        assert outage.at_once == OPEN
        assert unknowns(world) == outage.failed <= outage.at_once + 5
        assert len(world.twilio.posts) == BACKLOG
        changes = [
            (line["event"], line["breaker"], line["account"])
            for line in lines
            if line["event"].startswith("breaker_")
        ]
        assert changes == [
            ("breaker_opened", "account", "main"),
            ("breaker_closed", "account", "main"),
        ]
        # Nothing was claimed and put back again and again.
        assert (
            max(
                Counter(line["id"] for line in world.journaled() if line["e"] == "claimed").values()
            )
            <= 3
        )


async def test_a_fleet_shares_what_it_learns(store: Place, tmp_path: Path) -> None:
    """Two workers lose what they have open and five messages more, together."""
    outage = Outage(unavailable, after=10)
    async with (
        dispatching(store, tmp_path / "j1", outage, slots=SLOTS // 2) as one,
        dispatching(store, tmp_path / "j2", outage, slots=SLOTS // 2) as two,
    ):
        two.client._accounts["main"] = one.client._accounts["main"]
        await known(one, BACKLOG)
        async with one.working(), two.working():
            await until(lambda: outage.failed, "a failed probe", holds=lambda failed: failed > OPEN)
            outage.is_over = True
            await one.later(seconds=10)
            await until(
                lambda: sum(each.watch.stages.count(ACCEPTED) for each in (one, two)),
                "the rest of the backlog",
                holds=lambda accepted: accepted >= BACKLOG - outage.failed,
            )
        assert outage.failed <= outage.at_once + 5


async def test_a_gate_lets_one_message_try_until_an_answer_comes() -> None:
    """While an account is in doubt, one message goes at a time, and then all of them."""
    gate = AccountGate()
    assert await gate.enter("main", "m1")
    gate.unanswered("main")
    assert not gate.may_post("main", "m1")
    assert gate.may_post("second", "m1")
    waiting = [asyncio.create_task(gate.enter("main", name)) for name in ("m2", "m3", "m4")]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    gate.recorded("main")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [task.done() for task in waiting] == [True, False, False]
    assert gate.may_post("main", "m2")
    gate.leave("main", "m4")
    gate.leave("main", "m2")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [task.done() for task in waiting] == [True, True, False]
    gate.answered("main")
    assert await asyncio.gather(*waiting) == [True, True, True]
    gate.answered("main")
    gate.recorded("main")
    gate.leave("main", "m3")


async def test_a_gate_that_closes_turns_away_what_waits() -> None:
    """A worker that stops gives back the messages that wait."""
    gate = AccountGate()
    gate.unanswered("main")
    waiting = asyncio.create_task(gate.enter("main", "m1"))
    await asyncio.sleep(0)
    gate.close()
    assert not await waiting
    assert not await gate.enter("second", "m2")
