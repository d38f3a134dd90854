"""Without evidence, a message's own rule decides."""

from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from sendwindow.vocabulary import OnUnknown, Stage
from tests.support.cast import sid
from tests.support.pipeline_world import dispatching, resetting
from tests.support.stores_world import Place
from tests.support.unknown_world import ABSENT_AFTER, accept, look_after, parked
from worker.ports.statuses import StatusUpdate

pytestmark = pytest.mark.asyncio


LATE_PROOF: Final = StatusUpdate(
    sid(7), "sent", rank=40, is_final=False, is_failure=False, code=None, message_id="m1", attempt=1
)


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


async def test_evidence_after_a_resend_is_noted_and_counted(store: Place, tmp_path: Path) -> None:
    """Evidence of the first attempt after a resend records a copy; the accepted attempt stays."""
    async with dispatching(store, tmp_path / "j", resetting) as world:
        await parked(world, on_unknown=OnUnknown.RESEND)
        await look_after(world, timedelta(seconds=31))
        world.twilio.answer = accept
        await world.run_until(Stage.ACCEPTED)
        await world.store.statuses.apply([LATE_PROOF])
        row = (await world.record()).row
        assert (row["s"], row["a"]) == ("accepted", "2")
        assert "duplicate" in [line["e"] for line in (await world.record()).timeline]
