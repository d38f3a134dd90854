"""Consent in the pipeline: the effect of a clock that was set back, and of a newer version."""

from datetime import timedelta
from pathlib import Path

import pytest

from sendwindow.vocabulary import Stage
from tests.support.cast import BERT, GRETA
from tests.support.pipeline_world import dispatching
from tests.support.stores_world import Place
from worker.ports.people import ConsentEntry

pytestmark = pytest.mark.asyncio


async def test_what_was_granted_before_the_clock_was_set_back_is_sent(
    store: Place, tmp_path: Path
) -> None:
    """A grant dated five minutes ahead of the deciding clock counts, because the person gave it."""
    async with dispatching(store, tmp_path / "j") as world:
        await world.writes()
        await world.later(minutes=5)
        await world.consents()
        await world.later(minutes=-5)
        await world.enqueue()
        await world.run_until(Stage.ACCEPTED)
        assert len(world.twilio.posts) == 1


async def test_a_limited_grant_that_lapses_while_the_message_waits_does_not_revive_an_older_one(
    store: Place, tmp_path: Path
) -> None:
    """A grant for an hour that follows a withdrawal revives no older grant when it lapses."""
    async with dispatching(store, tmp_path / "j") as world:
        now = await world.store.now()
        said = (
            ConsentEntry(True, "main", None, None, "form", at=now - timedelta(days=3)),
            ConsentEntry(False, "main", "utility", None, "call", at=now - timedelta(days=2)),
            ConsentEntry(
                True, "main", "utility", None, "form", at=now, expires_at=now + timedelta(hours=1)
            ),
        )
        for entry in said:
            await world.store.people.record_consent(GRETA, entry, after_stop=True)
        await world.writes()
        await world.enqueue()
        await world.later(hours=2)
        await world.run_until(Stage.REFUSED)
        assert (await world.reason(), world.twilio.posts) == ("opted_out", [])


async def test_a_withdrawal_of_a_newer_version_refuses_one_message_and_the_rest_of_the_batch_goes(
    store: Place, tmp_path: Path
) -> None:
    """A withdrawal with an unknown purpose refuses its message and leaves the rest of the batch
    alone. A newer version wrote it, so it may cover any purpose.
    """
    async with dispatching(store, tmp_path / "j") as world:
        for number, person in enumerate((GRETA, BERT)):
            await world.consents(person)
            await world.writes(person)
            await world.enqueue(f"m{number}", to=person)
        await world.redis.hset(
            world.store._calls.keys.person(world.store.people.digest(GRETA)), "d:main|survey|*", "1"
        )
        async with world.working():
            await world.watch.until(lambda: len(world.watch.stages) == 2)
        assert (await world.stage("m0"), await world.reason("m0")) == ("refused", "missing_fact")
        assert await world.stage("m1") == "accepted"
        assert [form["To"] for form in world.twilio.posts] == [BERT]
