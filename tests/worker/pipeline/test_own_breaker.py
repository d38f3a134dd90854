"""A worker that cannot reach Twilio stops claiming, and goes on as soon as it can."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from sendwindow.vocabulary import Reason, Stage
from tests.support.dispatcher_steps import known
from tests.support.pipeline_world import World, dispatching
from tests.support.stores_world import Place
from worker.pipeline.own_breaker import (
    FIRST_WAIT_SECONDS,
    MAX_FAILURES,
    MAX_WAIT_SECONDS,
    OwnBreaker,
)

ACCEPTED = (Stage.ACCEPTED, Reason.ACCEPTED)
NOT_SENT = (Stage.RETRYING, Reason.NOT_SENT)


def opened(at: float = 0.0) -> OwnBreaker:
    breaker = OwnBreaker()
    found = [breaker.not_sent(number, at) for number in range(MAX_FAILURES)]
    assert found == [False] * (MAX_FAILURES - 1) + [True]
    return breaker


def test_it_opens_after_failures_in_a_row_only() -> None:
    """A POST of which bytes left begins the count again."""
    breaker = OwnBreaker()
    for _ in range(5):
        for _ in range(MAX_FAILURES - 1):
            assert not breaker.not_sent("m", 0)
        assert breaker.sent(0) is None
    assert not breaker.is_open
    assert breaker.begin("m", 0)
    assert breaker.seconds_left(0) is None


def test_one_message_tries_at_a_time() -> None:
    """While it is open, one message may start after the wait, and no other until that is over."""
    breaker = opened(10.0)
    assert (breaker.room(10.0), breaker.seconds_left(10.0)) == (0, FIRST_WAIT_SECONDS)
    assert not breaker.begin("m1", 10.0)
    at = 10.0 + FIRST_WAIT_SECONDS
    assert (breaker.room(at), breaker.seconds_left(at)) == (1, 0.0)
    assert breaker.begin("m1", at)
    assert not breaker.begin("m2", at)
    assert (breaker.room(at), breaker.seconds_left(at)) == (0, None)
    breaker.end("m2")
    assert breaker.room(at) == 0
    breaker.end("m1")
    assert breaker.room(at) == 1


def test_the_waits_grow_to_a_bound_and_begin_again() -> None:
    """Each failed try doubles the wait up to 5 s. After a success the next outage begins at 0.5 s.

    A failure of a message that started before the breaker opened changes no wait.
    """
    breaker, now, waits = opened(), 0.0, []
    for _ in range(6):
        waits.append(breaker.seconds_left(now) or 0.0)
        now += waits[-1]
        assert breaker.begin("m", now)
        assert not breaker.not_sent("other", now)
        assert not breaker.not_sent("m", now)
        breaker.end("m")
    assert waits == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    assert breaker.sent(now) == now
    for number in range(MAX_FAILURES):
        breaker.not_sent(number, now)
    assert breaker.seconds_left(now) == FIRST_WAIT_SECONDS


@given(st.lists(st.tuples(st.sampled_from(["fail", "reach", "begin", "end"]), st.floats(0, 7))))
def test_whatever_happens_one_message_may_try_within_the_longest_wait(
    steps: list[tuple[str, float]],
) -> None:
    """An open breaker never has two tries at once, and never keeps all messages back for good."""
    breaker, now, trying = OwnBreaker(), 0.0, None
    for number, (step, seconds) in enumerate(steps):
        now += seconds
        match step:
            case "fail":
                breaker.not_sent(trying if trying is not None else "earlier", now)
            case "reach":
                breaker.sent(now)
            case "begin" if trying is None:
                was_open = breaker.is_open
                if breaker.begin(number, now) and was_open:
                    trying = number
            case "end":
                breaker.end(trying)
                trying = None
        if breaker.is_open and trying is not None:
            assert not breaker.begin("another", now + 100)
    breaker.end(trying)
    assert breaker.begin("last", now + MAX_WAIT_SECONDS)


def cut_off(world: World) -> None:
    """Let every connection of the worker be refused."""
    working = world.client._accounts["main"]
    world.client._accounts["main"] = replace(working, messages=working.messages.with_port(1))


def reconnect(world: World) -> None:
    cut = world.client._accounts["main"]
    origin = cut.origin
    world.client._accounts["main"] = replace(cut, messages=cut.messages.with_port(origin.port))


def intents(world: World) -> int:
    return sum(line["e"] == "intent" for line in world.journaled())


async def _until_tries(world: World, number: int) -> None:
    await world.watch.until(lambda: world.watch.stages.count(NOT_SENT) >= number)


@pytest.mark.asyncio
async def test_a_worker_without_a_connection_leaves_the_backlog_alone(
    store: Place, tmp_path: Path
) -> None:
    """Of 60 messages only those with a slot and single tries are admitted, and all go out later.

    What went back keeps its place, and no message has used up a try.
    """
    async with dispatching(store, tmp_path / "j", slots=4) as world:
        await known(world, 60)
        cut_off(world)
        with capture_logs() as lines:
            async with world.working():
                await _until_tries(world, 6)
                tried = intents(world)
                assert tried < 15
                reconnect(world)
                await world.watch.until(lambda: world.watch.stages.count(ACCEPTED) == 60)
        assert len(world.twilio.posts) == 60
        events = [line for line in lines if line["event"].startswith("breaker_")]
        assert [(one["event"], one["breaker"]) for one in events] == [
            ("breaker_opened", "worker"),
            ("breaker_closed", "worker"),
        ]
        assert world.watch.cut == [True, False]


@pytest.mark.asyncio
async def test_other_workers_go_on(store: Place, tmp_path: Path) -> None:
    """A worker that is cut off gives back what it holds, and another sends all of it."""
    async with (
        dispatching(store, tmp_path / "j1", slots=4) as cut,
        dispatching(store, tmp_path / "j2", slots=4) as other,
    ):
        await known(cut, 20)
        cut_off(cut)
        async with cut.working():
            await _until_tries(cut, 3)
            async with other.working():
                await other.watch.until(lambda: other.watch.stages.count(ACCEPTED) == 20)
        assert (len(cut.twilio.posts), len(other.twilio.posts)) == (0, 20)
