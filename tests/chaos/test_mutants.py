"""The scenario keeps every promise with the real service, and each mutant breaks its own
promise.
"""

from pathlib import Path

import pytest

from tests.chaos.mutants import MUTANTS, Mutant
from tests.chaos.mutants_acts import REPEATS
from tests.chaos.mutants_made import split_by_spelling
from tests.chaos.mutants_scenario import Outcome, play, rare
from tests.support.stores_world import Place

SEED = 1
TESTS = Path(__file__).parents[1]
QUICKER = ("verify", "sandbox")
"""Where the rules of `verify` and the sandbox's findings are tested on made journals and POSTs."""


def a_few_first() -> list[object]:
    """Return every mutant as a parameter, most of them `long`.

    Not long are the first of each promise, and the first of each rule that no quicker test names.
    """
    quicker = "".join(
        path.read_text() for folder in QUICKER for path in (TESTS / folder).glob("*.py")
    )
    seen: set[str] = set()
    found: list[object] = []
    for mutant in MUTANTS:
        named = {mutant.promise} if f'"{mutant.rule}"' in quicker else {mutant.promise, mutant.rule}
        marks = [pytest.mark.long] if named <= seen else []
        seen |= named
        found.append(pytest.param(mutant, id=mutant.name, marks=marks))
    return found


def red(outcome: Outcome) -> set[tuple[str, str]]:
    """Return the promises and rules that are broken."""
    return {
        (promise.name, breach.rule)
        for promise in outcome.report.promises
        for breach in promise.breaches
    }


def assert_kept(outcome: Outcome) -> None:
    """Assert that every promise was checked and kept, and that every message reached its
    expected end.
    """
    assert red(outcome) == set()
    assert outcome.report.ok
    assert outcome.report.unchecked == ()
    assert outcome.report.not_judged == {}
    assert outcome.unexpected == {}
    assert outcome.came_to_rest


@pytest.mark.asyncio
async def test_the_service_as_it_is_keeps_every_promise(
    store: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The unchanged service keeps every promise in the scenario that judges the mutants."""
    outcome = await play(store, tmp_path / "run", monkeypatch, SEED)
    assert_kept(outcome)
    counts = outcome.report.counts
    assert set(counts.faults) == {
        *(
            "accept_garbage",
            "accept_hang",
            "accept_reset",
            "accept_unavailable",
            "fail",
            "hang",
            "rate_limited",
        ),
        *(
            "reject",
            "unavailable",
            "list_lag",
            "callback_doubled",
            "callback_first",
            "callback_lost",
            "callback_reordered",
        ),
    }
    assert set(counts.resolved) == {
        *("evidence_callback", "evidence_list", "held_by_rule", "never_by_rule", "resent_by_rule"),
    }
    assert set(counts.ends) == {"accepted", "refused", "failed", "expired", "cancelled", "dead"}
    assert counts.killed == {"anywhere": 2}
    assert (counts.reaped, counts.late_settles) == (4, 1)
    assert counts.duplicates == counts.duplicates_allowed == 1
    assert counts.opened_again
    assert counts.repeated == 4


@pytest.mark.asyncio
async def test_the_service_as_it_is_keeps_every_promise_in_what_is_rare(
    store: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The unchanged service reads every rare form, and believes errors only up to the limit."""
    outcome = await play(store, tmp_path / "run", monkeypatch, SEED, rare)
    assert_kept(outcome)
    counts = outcome.report.counts
    assert set(counts.faults) == {"reject", "fail", "decimal_code", "callback_by_get"}
    assert set(counts.ends) == {"accepted", "refused", "failed"}


@pytest.mark.asyncio
@pytest.mark.parametrize("mutant", a_few_first())
async def test_each_mutant_turns_its_promise_red(
    store: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mutant: Mutant
) -> None:
    """With one rule removed and the same seed, `verify` names that rule."""
    mutant.make(monkeypatch)
    outcome = await play(store, tmp_path / "run", monkeypatch, SEED, mutant.scenario)
    assert (mutant.promise, mutant.rule) in red(outcome)
    assert not outcome.report.ok


@pytest.mark.asyncio
async def test_a_window_that_is_missed_for_its_spelling_shows_in_the_ends(
    store: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list of expected ends shows a message that was refused in vain.

    `verify` cannot see it.
    """
    split_by_spelling(monkeypatch)
    outcome = await play(store, tmp_path / "run", monkeypatch, SEED)
    missed = {name: ends for name, ends in outcome.unexpected.items() if name.startswith("br-open")}
    assert missed == {f"br-open-{number}": ("accepted", "refused") for number in range(REPEATS)}


@pytest.mark.long
@pytest.mark.asyncio
@pytest.mark.parametrize("seed", range(SEED + 1, SEED + 31))
async def test_other_seeds_keep_every_promise_too(
    store: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """With other seeds the service keeps every promise too."""
    assert_kept(await play(store, tmp_path / "run", monkeypatch, seed))
