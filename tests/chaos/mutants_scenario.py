"""Two scenarios: a short life of the whole service, and what is rare.

The life has every form, channel, stop and fault, two kills and a frozen worker. The same seed makes
the same people, messages and faults. The expected end of each message is written next to it, so
that a scenario that no longer plays something is noticed before it judges a mutant.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chaos.mutants_cast import sandbox_for, settings_for
from tests.chaos.mutants_crashes import Crashes
from tests.chaos.mutants_day import Day
from tests.chaos.mutants_errors import Errors
from tests.chaos.mutants_players import Players
from tests.chaos.mutants_rare import Rare
from tests.chaos.mutants_rig import Rig, Runaway, rigged
from tests.chaos.mutants_stops import Stops
from tests.chaos.mutants_unknowns import Unknowns
from tests.support.stores_world import Place
from verify.judge import verify
from verify.judge_context import Options
from verify.report import Report

Act = Callable[[], Awaitable[None]]
Scenario = Callable[[Rig, Players], Sequence[Act]]
"""Returns the acts, in order."""


@dataclass(slots=True)
class Outcome:
    """The result of a run. `unexpected`: message → (expected end, stage found)."""

    report: Report
    unexpected: dict[str, tuple[str, str]]
    came_to_rest: bool


def life(rig: Rig, players: Players) -> Sequence[Act]:
    """Return the acts of a whole life."""
    day, errors, stops = Day(rig, players), Errors(rig, players), Stops(rig, players)
    crashes, unknowns = Crashes(rig, players), Unknowns(rig, players)
    return (
        day.meet,
        day.traffic,
        day.tag_unproven,
        day.tag_dies,
        day.not_yet,
        errors.address_unusable,
        errors.failed_too_early,
        errors.blocked,
        errors.marketing_refused,
        stops.stop_before_admission,
        stops.stop_before_post,
        stops.stop_while_a_clock_jumps,
        stops.stop_before_the_first_byte,
        crashes.worker_killed,
        crashes.worker_frozen,
        crashes.gateway_killed,
        unknowns.outcomes_unknown,
        errors.called_failed,
        unknowns.come_to_rest,
        unknowns.letter_cancelled,
    )


def rare(rig: Rig, players: Players) -> Sequence[Act]:
    """Return the acts about what is rare."""
    acts = Rare(rig, players)
    return (
        acts.open,
        acts.decimal_codes,
        acts.consent_of_a_newer_release,
        acts.user_id_refused,
        acts.marketing_stopped_in_the_channel,
        acts.too_many_errors,
        acts.by_get,
        acts.by_rcs,
    )


async def play(
    place: Place,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
    scenario: Scenario = life,
) -> Outcome:
    """Play a scenario with the service as it is patched, and let `verify` judge the journals.

    A mutant may never come to rest. It is then judged by what it did until then.
    """
    folder.mkdir()
    sandbox = sandbox_for(folder, seed)
    came_to_rest = True
    async with rigged(
        place, folder, monkeypatch, sandbox, lambda url: settings_for(place, url)
    ) as rig:
        players = Players(rig, seed)
        try:
            for act in scenario(rig, players):
                await act()
        except Runaway:
            came_to_rest = False
        unexpected = await players.compare()
    report = verify(sorted(folder.glob("*.jsonl")), Options(open_allowed=frozenset({"unresolved"})))
    return Outcome(report, unexpected, came_to_rest)
