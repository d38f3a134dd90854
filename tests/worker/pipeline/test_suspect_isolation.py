"""Suspect isolation: a worker drains when the store asks, for at most half of its time.

It always takes one suspect in the end.
"""

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from worker.pipeline.suspect_isolation import (
    MAX_SECONDS,
    MAX_WAIT_SECONDS,
    MIN_WAIT_SECONDS,
    SuspectIsolation,
)
from worker.ports.claims import CRASHES_IN_COMPANY, ClaimBatch, Suspects

NOTHING = ClaimBatch((), datetime(2026, 11, 21, tzinfo=UTC), None)
CALLED = replace(NOTHING, is_called=True)
A_SUSPECT: Any = SimpleNamespace(crashes=CRASHES_IN_COMPANY)
SUSPECT = replace(NOTHING, claimed=(A_SUSPECT,))


def is_on(isolation: SuspectIsolation) -> bool:
    return isolation.is_on


def test_a_call_begins_a_turn_and_an_empty_claim_ends_it() -> None:
    """A request from the store makes the worker drain once, and an empty claim ends that.

    If another worker took the suspect first, this worker goes on as before.
    """
    isolation = SuspectIsolation()
    isolation.observe(NOTHING, 0)
    assert not is_on(isolation)
    isolation.observe(CALLED, 1)
    assert is_on(isolation)
    assert isolation.suspects_to_claim(3) is Suspects.FIRST
    isolation.observe(NOTHING, 3)
    assert not is_on(isolation)


def test_after_a_turn_the_others_get_as_long() -> None:
    """After an isolation, other messages get as much time before the next one begins.

    Meanwhile a suspect is claimed last, if nothing else is due.
    """
    isolation = SuspectIsolation()
    isolation.observe(CALLED, 0)
    isolation.observe(NOTHING, 4)
    isolation.observe(CALLED, 7.9)
    assert not is_on(isolation)
    assert isolation.suspects_to_claim(7.9) is Suspects.LAST
    isolation.observe(SUSPECT, 7.9)
    assert isolation.suspects_to_claim(8) is Suspects.FIRST
    isolation.observe(CALLED, 8)
    assert is_on(isolation)


def test_a_turn_takes_one_after_the_other_for_a_while() -> None:
    """A worker that drained takes several suspects while time allows, and always at least one."""
    isolation = SuspectIsolation()
    isolation.observe(CALLED, 0)
    assert isolation.suspects_to_claim(30) is Suspects.FIRST
    isolation.observe(SUSPECT, 30)
    assert isolation.suspects_to_claim(31) is Suspects.LAST
    assert not is_on(isolation)
    quick = SuspectIsolation()
    quick.observe(SUSPECT, 0)
    assert quick.suspects_to_claim(MAX_SECONDS / 2) is Suspects.FIRST
    quick.observe(SUSPECT, MAX_SECONDS / 2)
    assert quick.suspects_to_claim(MAX_SECONDS) is Suspects.LAST


def test_a_worker_that_does_not_drain_ends_its_turn_and_gets_twice_as_long_next_time() -> None:
    """A slow POST does not stop a worker's claiming, and each further drain may take twice as long.

    In the end the worker waits even for the slowest.
    """
    isolation, now = SuspectIsolation(), 0.0
    waits: list[float] = []
    while not waits or waits[-1] < MAX_WAIT_SECONDS:
        isolation.observe(CALLED, now)
        seconds_left = isolation.seconds_left(now)
        assert seconds_left is not None
        waits.append(seconds_left)
        isolation.expire(now + seconds_left - 0.01)
        assert is_on(isolation)
        isolation.expire(now + seconds_left)
        assert not is_on(isolation)
        isolation.observe(CALLED, now + 2 * seconds_left - 0.01)
        assert not is_on(isolation)
        now += 2 * seconds_left
    assert waits == [MIN_WAIT_SECONDS, 4, 8, 16, 32, MAX_WAIT_SECONDS]


def test_a_drained_worker_keeps_its_turn_and_starts_again_with_the_shortest_wait() -> None:
    """A drained worker does not give up while a suspect runs, and its next wait is short again."""
    isolation = SuspectIsolation()
    isolation.observe(CALLED, 0)
    isolation.expire(MIN_WAIT_SECONDS)
    isolation.observe(CALLED, 10)
    assert isolation.suspects_to_claim(13) is Suspects.FIRST
    isolation.observe(SUSPECT, 13)
    assert isolation.seconds_left(13) is None
    isolation.expire(100)
    assert is_on(isolation)
    assert isolation.suspects_to_claim(100) is Suspects.LAST
    isolation.observe(CALLED, 300)
    assert isolation.seconds_left(300) == MIN_WAIT_SECONDS
