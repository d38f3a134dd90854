"""Lengths: both sides of every edge."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendwindow.limits import body_complaint, media_url_complaint, utf16_units, variable_complaints


@given(st.text())
def test_units_never_count_less_than_characters_nor_more_than_twice(text: str) -> None:
    """Units are between one and two a character, so no body that passes is too long for Twilio."""
    assert len(text) <= utf16_units(text) <= 2 * len(text)
    assert utf16_units(text) == sum(2 if ord(character) > 0xFFFF else 1 for character in text)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("x", None),
        ("x" * 1600, None),
        ("x" * 1601, "1601 UTF-16 units"),
        ("ü" * 1600, None),
        ("😀" * 800, None),
        ("😀" * 800 + "x", "1601 UTF-16 units"),
        ("a\ud83d", "half of a surrogate pair"),
        ("", "blank"),
        (" \n", "blank"),
    ],
)
def test_a_body_has_1600_units_at_most(body: str, problem: str | None) -> None:
    """A body has at most 1,600 units, since Twilio refuses more (21617); an emoji counts two."""
    complaint = body_complaint(body)
    assert (
        (complaint is None)
        if problem is None
        else (complaint is not None and problem in complaint[0])
    )


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("https://example.com/a.jpg", None),
        ("HTTP://example.com", None),
        ("https://example.com/" + "a" * 2028, None),
        ("https://example.com/" + "a" * 2029, "2049 characters"),
        ("https://example.com/ä.jpg", "outside ASCII"),
        ("https://example.com/a b", "a space"),
        ("https://example.com/a\n", "a control character"),
        ("ftp://example.com/a", "not an http"),
        ("https:///a.jpg", "not an http"),
        ("a.jpg", "not an http"),
        ("https://[1/a", "is not a URL"),
    ],
)
def test_a_media_url_is_one_public_web_address(url: str, problem: str | None) -> None:
    """A media URL is public http or https, because Twilio fetches it."""
    complaint = media_url_complaint(url)
    assert (
        (complaint is None)
        if problem is None
        else (complaint is not None and problem in complaint[0])
    )


def complaints(variables: dict[str, str]) -> list[tuple[str, str]]:
    return [(key, problem) for key, problem, _ in variable_complaints(variables)]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("Ann", None),
        ("a    b", None),
        ("a     b", "holds more than 4 spaces in a row"),
        ("", "is empty"),
        ("  ", "is empty"),
        *(
            (f"a{character}b", "holds a line break or a tab")
            for character in "\n\r\t\v\f\x85\u2028\u2029"
        ),
        ("x" * 1600, None),
        ("x" * 1601, "has 1601 UTF-16 units, 1600 at most"),
    ],
)
def test_a_variable_is_one_line_of_text(value: str, problem: str | None) -> None:
    """A variable is one line: Twilio answers 21656 if it is empty, 63013 to breaks, tabs or runs
    of spaces.
    """
    assert complaints({"1": value}) == ([] if problem is None else [("1", problem)])


def test_a_template_takes_100_variables() -> None:
    """A template takes 100 variables, and one more is refused."""
    assert complaints({str(number): "x" for number in range(100)}) == []
    assert complaints({str(number): "x" for number in range(101)}) == [
        ("", "holds 101 variables, 100 at most")
    ]


@pytest.mark.parametrize("key", ["", "a" * 17, "first_name", "é", "1\n"])
def test_a_variable_is_named_with_16_letters_or_digits(key: str) -> None:
    """A wrong name of a variable is not repeated, because it may be a value."""
    assert complaints({"a" * 16: "x", key: "x"}) == [
        ("", "has a name that is not 1 to 16 letters or digits")
    ]
