"""What a process keeps for good costs the garbage collector nothing."""

import gc
from collections.abc import Iterator

import pytest

from worker.runtime.garbage import THRESHOLDS, spare_long_lived


@pytest.fixture
def _collector_as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.mark.usefixtures("_collector_as_before")
def test_what_exists_at_the_start_is_not_looked_through_again() -> None:
    """What exists is exempt from collections, and later ones are rarer than Python's own."""
    kept = [[number] for number in range(100)]
    spare_long_lived()
    assert gc.get_freeze_count() > len(kept)
    assert not any(one is kept for one in gc.get_objects())
    assert gc.get_threshold()[: len(THRESHOLDS)] == THRESHOLDS


@pytest.mark.usefixtures("_collector_as_before")
def test_cycles_of_later_are_still_collected() -> None:
    """The collector stays on, so what refers to itself does not fill the memory."""
    spare_long_lived()
    assert gc.isenabled()
    cycle: list[object] = []
    cycle.append(cycle)
    del cycle
    assert gc.collect() >= 1
