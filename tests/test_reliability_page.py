"""The numbers that docs/reliability.md prints are those that the code and the tests use."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from tests.chaos.plan import LONG
from tests.chaos.seeds import HOW_MANY
from tests.chaos.stop_at import POINTS
from tests.chaos.test_nemesis import SLOTS
from tests.chaos.test_store_failover import LINK_DOWN
from tests.support.shipped import rules
from worker.pipeline.missing_statuses import FetchSchedule
from worker.pipeline.unknown.matching import DOUBT, MAX_POST_DELAY
from worker.settings.settings import parse_settings
from worker.stores.unknowns import MAX_STATUS_AGE

MINUTE: Final = timedelta(minutes=1)
HOUR: Final = timedelta(hours=1)
TIMES_THE_AGE: Final = 6
"""The store waits five times the age of a message before the next fetch."""


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "docs" / "reliability.md").read_text()


def rows(page: str) -> dict[str, str]:
    """Return the last table but one: what the three long runs do together."""
    section = page.partition("This is what the three long runs do together")[2]
    return dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", section, re.MULTILINE))


def test_the_table_of_the_long_runs_is_their_doses(page: str) -> None:
    """The table shows the doses of the three long runs, and the limits that their check asserts."""

    def runs(count: int) -> str:
        return f"{count * HOW_MANY:,}"

    each = LONG.each_point
    assert rows(page) == {
        "messages, at least": runs(LONG.messages),
        "kills at named points: after claim, before intent, after intent, after POST, "
        "before settle, after settle, before and after a callback's write": (
            f"{runs(each)} each, {runs(each * len(POINTS))} in all"
        ),
        "kills at random; workers frozen past their lease; restarts": "; ".join(
            map(runs, (LONG.kills, LONG.freezes, LONG.restarts))
        ),
        "store killed; frozen; scripts flushed": "; ".join(
            map(runs, (LONG.store_kills, LONG.store_pauses, LONG.script_flushes))
        ),
        "bursts of 429": runs(LONG.rate_limits),
        "lost": "0",
        "sent twice without the rule `resend`": "0",
        f"most unknown outcomes of one killed worker with {SLOTS} slots": f"{SLOTS}",
        "most of one that was frozen past its lease": f"{2 * SLOTS}",
    }


def test_every_other_number_is_the_codes(page: str) -> None:
    """The page prints no number in digits but those of the table and of the sentences below."""
    sentences = (
        f"the three drawn seeds of {LONG.messages:,} messages",
        "With `wait:2`, which is all replicas, 0 messages are lost and 0 are sent twice.",
        f"does not come after {FetchSchedule().quiet_for // MINUTE} minutes",
        f"After {MAX_STATUS_AGE // HOUR} hours the message leaves",
    )
    rest = page
    for sentence in sentences:
        assert sentence in rest
        rest = rest.replace(sentence, "")
    for row, shown in rows(page).items():
        rest = rest.replace(f"| {row} | {shown} |", "")
    text = re.sub(
        r"```.*?```|`[^`]*`|\]\([^)]*\)|decision \d+|P\d|2xx|## .*", "", rest, flags=re.DOTALL
    )
    assert re.findall(r"(?<![\w.])\d[\d,.]*", text) == []


def test_the_numbers_in_words_are_the_codes(page: str) -> None:
    """What the page says in words comes out of the same constants."""
    assert LONG.workers == 4
    assert "a gateway and four workers" in page
    assert timedelta(seconds=LINK_DOWN) == MINUTE / 120
    assert "for half a second before the kill" in page
    assert MAX_POST_DELAY + DOUBT == 20 * MINUTE
    assert "from the same sender within twenty minutes" in page
    assert rules().policy.most_resends == 2
    assert "sends again at most twice without proof" in page
    last = FetchSchedule().quiet_for * TIMES_THE_AGE**2
    assert last == 9 * HOUR
    assert last * TIMES_THE_AGE > MAX_STATUS_AGE
    assert "again at about six times that age, and for the last time after about nine hours" in page


def test_slots_are_those_of_the_settings() -> None:
    """The slots that the page and the nemesis count on are the default."""
    assert parse_settings({}, {}, lambda name: name).dispatch.slots == SLOTS
