"""Turns for suspects: hands are emptied when the store calls, at most half of the time; one suspect is always taken."""

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from worker.dispatch.turns import LONGEST, LONGEST_WAIT, SHORTEST_WAIT, Turns
from worker.values.claims import ClaimBatch, Suspects

NOTHING = ClaimBatch((), datetime(2026, 11, 21, tzinfo=UTC), None)
CALLED = replace(NOTHING, is_called=True)
A_SUSPECT: Any = SimpleNamespace(is_suspect=True)
SUSPECT = replace(NOTHING, claimed=(A_SUSPECT,))


def is_on(turns: Turns) -> bool:
    return turns.is_on


def test_a_call_begins_a_turn_and_an_empty_claim_ends_it() -> None:
    """The hands are emptied once; who finds that another worker took the suspect goes on as before."""
    turns = Turns()
    turns.heard(NOTHING, 0)
    assert not is_on(turns)
    turns.heard(CALLED, 1)
    assert is_on(turns)
    assert turns.wish(3) is Suspects.FIRST
    turns.heard(NOTHING, 3)
    assert not is_on(turns)


def test_after_a_turn_the_others_get_as_long() -> None:
    """Neither a call nor empty hands begin another before; suspects go last, should nothing else be due."""
    turns = Turns()
    turns.heard(CALLED, 0)
    turns.heard(NOTHING, 4)
    turns.heard(CALLED, 7.9)
    assert not is_on(turns)
    assert turns.wish(7.9) is Suspects.LAST
    turns.heard(SUSPECT, 7.9)
    assert turns.wish(8) is Suspects.FIRST
    turns.heard(CALLED, 8)
    assert is_on(turns)


def test_a_turn_takes_one_after_the_other_for_a_while() -> None:
    """A turn that emptied the hands is used for several; however long that took, it takes one."""
    turns = Turns()
    turns.heard(CALLED, 0)
    assert turns.wish(30) is Suspects.FIRST
    turns.heard(SUSPECT, 30)
    assert turns.wish(31) is Suspects.LAST
    assert not is_on(turns)
    quick = Turns()
    quick.heard(SUSPECT, 0)
    assert quick.wish(LONGEST / 2) is Suspects.FIRST
    quick.heard(SUSPECT, LONGEST / 2)
    assert quick.wish(LONGEST) is Suspects.LAST


def test_hands_that_do_not_empty_end_the_turn_and_get_twice_as_long_next_time() -> None:
    """One slow POST does not stop a worker's claiming; in the end even the slowest is waited for."""
    turns, now = Turns(), 0.0
    waits: list[float] = []
    while not waits or waits[-1] < LONGEST_WAIT:
        turns.heard(CALLED, now)
        left = turns.left(now)
        assert left is not None
        waits.append(left)
        turns.give_up(now + left - 0.01)
        assert is_on(turns)
        turns.give_up(now + left)
        assert not is_on(turns)
        turns.heard(CALLED, now + 2 * left - 0.01)
        assert not is_on(turns)
        now += 2 * left
    assert waits == [SHORTEST_WAIT, 4, 8, 16, 32, LONGEST_WAIT]


def test_empty_hands_are_not_given_up_and_begin_the_waits_anew() -> None:
    """A suspect that was taken may last; the next turn gives up as early as the first did."""
    turns = Turns()
    turns.heard(CALLED, 0)
    turns.give_up(SHORTEST_WAIT)
    turns.heard(CALLED, 10)
    assert turns.wish(13) is Suspects.FIRST
    turns.heard(SUSPECT, 13)
    assert turns.left(13) is None
    turns.give_up(100)
    assert is_on(turns)
    assert turns.wish(100) is Suspects.LAST
    turns.heard(CALLED, 300)
    assert turns.left(300) == SHORTEST_WAIT
