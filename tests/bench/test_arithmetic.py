"""What the runner computes from what the rows return, and in which order it runs them."""

import math
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.mock_api import log_normal
from bench.picture import draw
from bench.report import Report, shown
from bench.row import CPU_AND_RATE, Figure, Place, Row, Sizes, Spent
from bench.schedule import UnknownRowError, chosen, size_of, turns
from bench.summary import RATIOS, Spread, percentile, ratios, spread, spreads

NUMBERS = st.lists(st.floats(0.001, 1e6), min_size=1)


async def _nothing(_place: Place) -> Mapping[str, float]:
    return {}


def row(name: str, *, quick: int | None = 1, situation: bool = False, asked: bool = False) -> Row:
    """Return a row that is only planned, never run."""
    return Row(
        name,
        "does nothing",
        CPU_AND_RATE,
        Sizes(100, quick, 1),
        _nothing,
        group="situation" if situation else "comparison",
        on_request=asked,
    )


ROWS = [
    row("raw_loop"),
    row("ours"),
    row("hour", situation=True),
    row("long", quick=None),
    row("huge", quick=None, asked=True),
]


# -- order ---------------------------------------------------------------------------------------


def names(*picked: str, is_quick: bool = False) -> list[str]:
    """Return the names of the chosen rows."""
    return [one.name for one in chosen(ROWS, picked, is_quick=is_quick)]


def test_a_full_run_has_every_row_that_needs_no_request() -> None:
    """A row on request is left out unless it is named."""
    assert names() == ["raw_loop", "ours", "hour", "long"]


def test_a_quick_run_leaves_out_the_rows_without_a_quick_size() -> None:
    """The others run with their quick size."""
    assert names(is_quick=True) == ["raw_loop", "ours", "hour"]
    assert size_of(ROWS[0], is_quick=True) == 1
    assert size_of(ROWS[0], is_quick=False) == 100


def test_a_row_that_is_named_runs_in_any_case() -> None:
    """Also on request, and in a quick run at its full size."""
    assert names("huge", "ours", is_quick=True) == ["ours", "huge"]
    assert size_of(ROWS[4], is_quick=True) == 100


def test_a_row_that_does_not_exist_is_refused_with_those_that_do() -> None:
    """The error names what was asked and what there is."""
    with pytest.raises(UnknownRowError, match=r"no row faster.*raw_loop, ours"):
        names("faster")


def test_every_round_runs_each_row_once_and_every_second_one_backwards() -> None:
    """Rows run in turn, so a noisy minute does not hit one of them alone."""
    order = [(number, one.name) for number, one in turns(ROWS[:3], 3, is_quick=False)]
    assert order == [
        (1, "raw_loop"), (1, "ours"), (1, "hour"),
        (2, "hour"), (2, "ours"), (2, "raw_loop"),
        (3, "raw_loop"), (3, "ours"), (3, "hour"),
    ]  # fmt: skip


def test_a_quick_run_has_a_situation_once() -> None:
    """Situations take long, and a quick run only shows that they run."""
    counted = Counter(one.name for _, one in turns(ROWS[:3], 3, is_quick=True))
    assert counted == {"raw_loop": 3, "ours": 3, "hour": 1}


@given(st.integers(1, 6), st.integers(1, 6), st.booleans())
def test_no_round_starts_before_the_last_one_is_over(
    number: int, rounds: int, is_quick: bool
) -> None:
    """The rounds come one after the other, whatever the rows."""
    rows = [row(f"row-{at}", situation=at % 2 == 1) for at in range(number)]
    found = [at for at, _ in turns(rows, rounds, is_quick=is_quick)]
    assert all(one <= other for one, other in pairwise(found))
    assert set(found) == set(range(1, rounds + 1))


# -- numbers -------------------------------------------------------------------------------------


def test_processor_time_is_for_1000_messages_and_the_rate_is_by_the_wall() -> None:
    """2 s of processor and 4 s of wall time for 500 messages: 4 s per 1,000, 125 a second."""
    assert Spent(2.0, 4.0, 500).figures() == {"cpu": 4.0, "rate": 125.0}


def test_no_message_has_no_figures() -> None:
    """A row that sent nothing fails instead of being infinitely fast."""
    with pytest.raises(ValueError, match="no message"):
        Spent(2.0, 4.0, 0).figures()


def test_a_spread_has_the_median_and_the_range() -> None:
    """Of an even number of runs, the median is the mean of the two in the middle."""
    assert spread([3.0, 1.0, 2.0]) == Spread(1.0, 2.0, 3.0)
    assert spread([4.0, 1.0, 2.0, 3.0]) == Spread(1.0, 2.5, 4.0)
    with pytest.raises(ValueError, match="no median"):
        spread([])


@given(NUMBERS)
def test_the_median_lies_within_the_range(values: list[float]) -> None:
    """Whatever the runs returned."""
    found = spread(values)
    assert found.least <= found.median <= found.most


def test_spreads_are_for_each_figure_of_each_row_that_ran() -> None:
    """A row without a run has none."""
    runs = {"ours": [{"cpu": 1.0}, {"cpu": 3.0}], "bullmq": []}
    assert spreads(runs) == {"ours": {"cpu": Spread(1.0, 2.0, 3.0)}}


@pytest.mark.parametrize(
    "part, value", [(0.0, 1), (0.01, 1), (0.5, 50), (0.95, 95), (0.99, 99), (1.0, 100)]
)
def test_a_percentile_is_a_value_that_occurred(part: float, value: int) -> None:
    """It is the smallest value that so many of the values do not exceed."""
    assert percentile(list(range(100, 0, -1)), part) == value


@given(NUMBERS, st.floats(0.0, 1.0))
def test_so_many_values_do_not_exceed_a_percentile(values: list[float], part: float) -> None:
    """The definition, for every part and all values."""
    found = percentile(values, part)
    assert found in values
    assert sum(value <= found for value in values) >= part * len(values)


def test_no_values_have_no_percentile() -> None:
    """A row in which nothing was sent fails instead of being at once."""
    with pytest.raises(ValueError, match="no percentile"):
        percentile([], 0.5)


def measured(**figures: float) -> dict[str, dict[str, Spread]]:
    """Return rows with one figure each. A key is `row__figure`."""
    found: dict[str, dict[str, Spread]] = {}
    for key, value in figures.items():
        name, _, figure = key.partition("__")
        found.setdefault(name, {})[figure] = Spread(0.0, value, 2 * value)
    return found


def test_a_ratio_divides_medians() -> None:
    """Processor time of the reference by ours; the rate of eight workers by eight times one."""
    found = ratios(
        measured(raw_loop__cpu=0.2, ours__cpu=0.5, workers_8__rate=720.0, workers_1__rate=100.0)
    )
    assert found == {
        "raw loop / ours, CPU": pytest.approx(0.4),
        "8 workers / 8 x one, rate": pytest.approx(0.9),
    }


def test_a_ratio_without_both_figures_is_left_out() -> None:
    """A row that was not chosen, or that this machine cannot run, has no ratio."""
    assert ratios(measured(raw_loop__cpu=0.2)) == {}
    assert ratios(measured(raw_loop__cpu=0.2, ours__cpu=0.0)) == {}


@pytest.mark.parametrize("mean, p95", [(0.2, 0.4), (0.05, 0.1), (1.0, 1.5)])
def test_the_mock_is_as_slow_as_its_script_says(mean: float, p95: float) -> None:
    """The log-normal distribution has the mean and the 95th percentile that were asked for."""
    mu, sigma = log_normal(mean, p95)
    assert math.exp(mu + sigma**2 / 2) == pytest.approx(mean)
    assert math.exp(mu + 1.6448536269514722 * sigma) == pytest.approx(p95)


@pytest.mark.parametrize("mean, p95", [(0.2, 0.1), (0.2, 2.0)])
def test_a_script_that_no_distribution_fits_is_refused(mean: float, p95: float) -> None:
    """The 95th percentile lies above the mean, and less than four times as high."""
    with pytest.raises(ValueError, match="no log-normal"):
        log_normal(mean, p95)


# -- what a run prints and writes ----------------------------------------------------------------


WAIT = (Figure("p50", "enqueue to POST, p50", "ms", 1),)


def report(*, is_quick: bool = False, mock: str = "nginx") -> Report:
    """Return a report of two comparison rows and one other, with one row not measured."""
    other = Row("latency_50", "waits", WAIT, Sizes(1, 1, 1), _nothing, mock="scripted")
    return Report(
        [ROWS[0], ROWS[1], other],
        {
            "raw_loop": [{"cpu": 0.1, "rate": 4000.0}, {"cpu": 0.2, "rate": 3000.0}],
            "ours": [{"cpu": 0.4, "rate": 900.0}, {"cpu": 0.6, "rate": 1100.0}],
            "latency_50": [{"p50": 6.66}],
        },
        2,
        is_quick,
        mock,
        {"raw_loop": 100, "ours": 100, "latency_50": 1},
        {"bullmq": "node is not on the PATH"},
    )


def test_a_spread_is_shown_with_the_digits_of_its_figure() -> None:
    """The median first, and the range in parentheses."""
    assert shown(Spread(1.0, 2.0, 3.0), WAIT[0]) == "2.0 (1.0 to 3.0)"


def test_the_table_shows_every_figure_and_what_is_missing() -> None:
    """It fits 80 columns, and says which mock answered and what was not measured."""
    lines = report().table().splitlines()
    assert max(map(len, lines)) <= 80
    assert ["ours", "0.500", "(0.400", "to", "0.600)", "1000", "(900", "to", "1100)"] in [
        line.split() for line in lines
    ]
    assert any("6.7 (6.7 to 6.7) ms" in line for line in lines)
    assert any(line.split() == ["raw", "loop", "/", "ours,", "CPU", "0.30"] for line in lines)
    assert "bullmq was not measured: node is not on the PATH." in lines
    assert any("nginx, and the bundled one for rows that need a script" in line for line in lines)


def test_a_quick_run_draws_no_conclusion() -> None:
    """It says so, and it marks the bundled mock."""
    text = report(is_quick=True, mock="bundled").table()
    assert "draw no conclusion" in text
    assert "bundled, which shares the cores" in text
    assert "draw no conclusion" not in report().table()


def test_the_mock_of_each_row_is_in_the_result() -> None:
    """A row with a script has the bundled mock, whatever the others have."""
    found = report()
    assert [found.mock_of(one) for one in found.rows] == ["nginx", "nginx", "bundled"]


def test_the_picture_is_an_svg_with_a_bar_for_each_median() -> None:
    """Two rows of processor time, two rates, and one ratio; each with its text."""
    picture = ET.fromstring(draw(report()))  # noqa: S314 -- our own text
    space = "{http://www.w3.org/2000/svg}"
    assert picture.tag == f"{space}svg"
    bars = picture.findall(f"{space}rect")[1:]  # the first is the background
    assert len(bars) == 5
    assert float(bars[1].attrib["width"]) == pytest.approx(
        5 * float(bars[0].attrib["width"]) * 2 / 3, rel=0.01
    )
    texts = {text.text for text in picture.findall(f"{space}text")}
    assert {"raw_loop", "ours", "0.500", "1000", "0.30"} <= texts


def test_the_ratios_name_rows_and_figures_that_exist() -> None:
    """A row that is renamed does not silently lose its ratio."""
    from bench.registry import ROWS as REAL  # noqa: PLC0415 -- the rest of this file needs no row

    known = {(one.name, figure.key) for one in REAL for figure in one.figures}
    assert {side for ratio in RATIOS for side in (ratio.above, ratio.below)} <= known
