"""The values that policy data and settings are read into, and what is said about others."""

import math
from collections.abc import Callable

import pytest

from policies.toml_reader import (
    UnusableError,
    closest,
    read_choice,
    read_flag,
    read_number,
    read_texts,
    read_whole,
)


@pytest.mark.parametrize(
    ("read", "value", "expected"),
    [
        (lambda value: read_whole(value, 0, 5), 5, 5),
        (lambda value: read_whole(value, None, None), -7, -7),
        (lambda value: read_number(value, 0, 5), 2, 2.0),
        (lambda value: read_number(value, None, None), 1e9, 1e9),
        (read_flag, False, False),
        (read_texts, [" one ", "two"], ("one", "two")),
        (read_texts, [], ()),
        (lambda value: read_choice(value, ["high", "low"]), " low ", "low"),
    ],
)
def test_a_value_of_the_right_kind_is_read(
    read: Callable[[object], object], value: object, expected: object
) -> None:
    """A value in its range is returned, and a text without the space around it."""
    assert read(value) == expected


@pytest.mark.parametrize(
    ("read", "value", "problem", "remedy"),
    [
        (
            lambda value: read_number(value, 0.5, 5),
            math.nan,
            "is out of range",
            "write a number from 0.5 to 5",
        ),
        (
            lambda value: read_number(value, 0.5, 5),
            "2",
            "is not a number",
            "write a number from 0.5 to 5",
        ),
        (lambda value: read_number(value, None, None), True, "is not a number", "write a number"),
        (
            lambda value: read_whole(value, 1, 5),
            2.0,
            "is not a whole number",
            "write a whole number from 1 to 5",
        ),
        (
            lambda value: read_choice(value, ["high", "low"]),
            "hihg",
            "is not one of the choices",
            'did you mean "high"?',
        ),
    ],
)
def test_another_value_is_refused_with_its_remedy(
    read: Callable[[object], object], value: object, problem: str, remedy: str
) -> None:
    """The problem does not repeat the value, which could be a secret."""
    with pytest.raises(UnusableError, match=f"^{problem}$") as caught:
        read(value)
    assert caught.value.remedy == remedy


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    """Without a similar name all known names are listed."""
    assert closest("colour", ["b", "a"]) == "known: a, b"
    assert closest("colour", []) == "none is configured"
