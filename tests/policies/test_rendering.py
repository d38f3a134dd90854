"""A template's approved text with the values of a message."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.rendering import placeholders, render


@pytest.mark.parametrize(
    ("body", "variables", "expected"),
    [
        ("Your order {{1}} left.", {"1": "A-1"}, "Your order A-1 left."),
        ("{{ name }}, {{name}}!", {"name": "Ann"}, "Ann, Ann!"),
        ("{{1}}", {"1": "{{2}}", "2": "x"}, "{{2}}"),
        ("{{1}} and {{2}}", {"1": "A"}, None),
        ("No variables", {}, "No variables"),
        ("{1} {{}} { {1} }", {"1": "A"}, "{1} {{}} { {1} }"),
    ],
)
def test_a_body_is_rendered_with_its_values(
    body: str, variables: dict[str, str], expected: str | None
) -> None:
    """Each placeholder gets its value, and without all values the text is unknown."""
    assert render(body, variables) == expected


@given(st.text(), st.dictionaries(st.sampled_from(["1", "2", "name"]), st.text()))
def test_a_rendered_body_needs_exactly_its_placeholders(
    body: str, variables: dict[str, str]
) -> None:
    """A rendered text exists exactly when every placeholder has a value."""
    assert (render(body, variables) is None) == bool(placeholders(body) - variables.keys())
