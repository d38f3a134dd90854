"""How commands lay out rows: no line is wider than the screen, and no word is broken."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.cli.output import instant
from worker.cli.tables import lay_out, wrap

WORDS = st.text("abcdefghij", min_size=1, max_size=30)
CELLS = st.lists(WORDS, max_size=12).map(" ".join)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[str]]]:
    columns = draw(st.lists(WORDS, min_size=1, max_size=9, unique=True))
    return columns, draw(
        st.lists(st.lists(CELLS, min_size=len(columns), max_size=len(columns)), max_size=6)
    )


@given(tables(), st.integers(70, 120))
def test_every_line_fits_and_every_word_stays_whole(
    table: tuple[list[str], list[list[str]]], width: int
) -> None:
    """Names and words of up to 30 columns fit side by side on any screen of 70 columns or more."""
    columns, rows = table
    lines = lay_out(columns, rows, width)
    assert all(len(line) <= width for line in lines)
    shown = " ".join(lines).split()
    wanted = [word for row in rows for cell in row for word in cell.split()]
    for word in {*wanted}:
        assert shown.count(word) >= wanted.count(word), word


def test_a_table_keeps_its_columns_while_they_fit() -> None:
    """Short columns stay on one line, and the longest one takes the rest of the width and wraps."""
    rows = [
        ["ok", "settings", "one account"],
        ["warning", "policy", "a rule ends soon, so read the page of it"],
    ]
    assert lay_out(("", "what", "finding"), rows, 40) == [
        "         what      finding",
        "ok       settings  one account",
        "warning  policy    a rule ends soon, so",
        "                   read the page of it",
    ]


def test_a_table_with_too_many_columns_becomes_one_block_a_row() -> None:
    """A table with too many columns becomes one block a row, without empty fields.

    A long value is indented under its name.
    """
    rows = [["shop", "2026-12-01T10:00:00Z", ""], ["text", "", "a word and another"]]
    assert lay_out(("sender", "last inbound", "note"), rows, 26) == [
        "sender        shop",
        "last inbound  2026-12-01T10:00:00Z",
        "",
        "sender        text",
        "note          a word and",
        "              another",
    ]


def test_a_word_that_is_wider_than_the_screen_stays_whole() -> None:
    """A word wider than the screen stays whole, so that an id can be copied from a narrow
    screen.
    """
    assert lay_out(("id",), [["x" * 50 + " y"]], 20) == ["id  " + "x" * 50, "    y"]


def test_wide_characters_count_twice() -> None:
    """A name in Japanese takes two columns a character."""
    assert wrap("日本 語", 4) == ["日本", "語"]
    assert lay_out(("a", "b"), [["日本", "x"]], 80) == ["a     b", "日本  x"]


@pytest.mark.parametrize("offset", [0, 5])
def test_an_instant_is_written_in_one_form_that_options_read_again(offset: int) -> None:
    """An instant is UTC to the second in one word, which options read again."""
    at = datetime(2026, 12, 1, 10, 0, 0, 500000, tzinfo=timezone(timedelta(hours=offset)))
    assert instant(at) == f"2026-12-01T{10 - offset:02d}:00:00Z"
    assert datetime.fromisoformat(instant(at)) == at.replace(microsecond=0).astimezone(UTC)
