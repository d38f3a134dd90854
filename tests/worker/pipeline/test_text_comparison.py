"""When two texts are the same, unclear, or different."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.pipeline.unknown.text_comparison import Likeness, compare_template, compare_text


@given(st.text(min_size=1))
def test_a_text_is_the_same_as_itself_however_it_is_trimmed(text: str) -> None:
    """Blanks around a text and a trial account's words in front of it make no difference."""
    assert compare_text(text, text) is Likeness.SAME
    assert compare_text(text, f"\n {text} ") is Likeness.SAME
    assert compare_text(text, f"Sent from your Twilio trial account - {text}") is Likeness.SAME


@given(st.text(), st.text())
def test_neither_side_matters(ours: str, theirs: str) -> None:
    """A comparison is the same both ways, apart from a trial account's words."""
    assert compare_text(ours, theirs) is compare_text(theirs, ours)


@given(st.text(), st.text())
def test_a_template_is_never_more_surely_anothers_than_a_text(ours: str, theirs: str) -> None:
    """A comparison never excludes a template more surely than the same text.

    The approved text may be newer, so OTHER for a template implies OTHER for a text; SAME is equal
    for both.
    """
    text, template = compare_text(ours, theirs), compare_template(ours, theirs)
    assert (text is Likeness.SAME) == (template is Likeness.SAME)
    assert template is not Likeness.OTHER or text is Likeness.OTHER
    assert compare_template(None, theirs) is Likeness.UNCLEAR


@pytest.mark.parametrize(
    ("ours", "theirs", "likeness"),
    [
        ("«½ price» – it’s on…", '"1⁄2 price" - it\'s on...', Likeness.SAME),
        ("Привет", "Пока", Likeness.OTHER),
        ("注文は発送されました", "ご用件は何ですか", Likeness.OTHER),
        ("Your code is 123456", "Your code is 654321", Likeness.OTHER),
        ("naïve", "naive", Likeness.UNCLEAR),
        ("a\u200bb", "ab", Likeness.SAME),
    ],
)
def test_what_an_encoding_may_change_is_not_anothers(
    ours: str, theirs: str, likeness: Likeness
) -> None:
    """Look-alike characters are the same, lost accents unclear, other words and numbers
    different.
    """
    assert compare_text(ours, theirs) is likeness
