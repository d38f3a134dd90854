"""Stop, start and help words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.keywords import Keyword, effect, fold, parse_keywords
from policies.reading import PolicyDataError
from tests.policies.given import KEYWORDS, shipped

STOP, START, YES, HELP = Keyword


@pytest.mark.parametrize(
    "text, keyword",
    [
        *((word, STOP) for word in ("STOP", "stopall", "UNSUBSCRIBE", "Cancel", "END", "quit", "REVOKE", "OPTOUT")),
        *((word, STOP) for word in ("opt out", "Opt-Out", "OPT  OUT", "opt\u2011out", "opt\u2014out")),
        *((word, START) for word in ("START", "unstop")),
        ("YES", YES),
        *((word, HELP) for word in ("HELP", "info")),
        (" stop ", STOP),
        ("stop.", STOP),
        ("«STOP»!!!", STOP),
        ("\u201cStop\u201d", STOP),
        ("\uff33\uff34\uff2f\uff30", STOP),
        ("STOP \N{RAISED HAND}\ufe0f", STOP),
        ("st\u200bop\n", STOP),
        ("stop\t", STOP),
        ("\ufeffSTOP", STOP),
        ("STOP PLEASE", None),
        ("please stop", None),
        ("don't stop", None),
        ("stopping", None),
        ("st op", None),
        ("yes please", None),
        ("", None),
        ("!!!", None),
        ("\N{RAISED HAND}", None),
    ],
)
def test_a_keyword_is_the_whole_message_and_nothing_less(text: str, keyword: Keyword | None) -> None:
    """Case, width, spaces, invisible characters, emoji and punctuation around it do not matter; other words do."""
    assert KEYWORDS.match(text) is keyword


@pytest.mark.parametrize(
    "text, told, keyword",
    [
        ("assez", "STOP", STOP),
        ("weiter", "START", START),
        ("que?", " help ", HELP),
        ("STOP", None, STOP),
        ("STOP", "", STOP),
        ("STOP", "SOMETHING NEW", STOP),
        ("no", "YES", None),
    ],
)
def test_what_twilio_says_about_an_opt_out_outranks_the_text(
    text: str, told: str | None, keyword: Keyword | None
) -> None:
    """Advanced Opt-Out knows the account's own words in other languages; a verdict nobody knows is ignored."""
    assert KEYWORDS.match(text, told) is keyword


@pytest.mark.parametrize(
    "keyword, is_opted_out, expected",
    [
        (YES, True, START),
        (YES, False, None),
        (START, True, START),
        (START, False, START),
        (STOP, True, STOP),
        (STOP, False, STOP),
        (HELP, False, HELP),
        (None, True, None),
    ],
)
def test_yes_starts_again_only_for_someone_who_opted_out(
    keyword: Keyword | None, is_opted_out: bool, expected: Keyword | None
) -> None:
    """YES answers many questions; it is no opt-in from somebody who never stopped."""
    assert effect(keyword, is_opted_out=is_opted_out) is expected


@given(st.text(max_size=40))
def test_folding_is_total_and_settles_at_once(text: str) -> None:
    """No text raises, and folding a folded text changes nothing."""
    assert fold(fold(text)) == fold(text)
    KEYWORDS.match(text, text)


@given(st.sampled_from(sorted(KEYWORDS.words)), st.text(" \t\n.,!?\"'()*_-\u2026", max_size=5))
def test_punctuation_around_a_word_never_hides_it(word: str, around: str) -> None:
    """A stop in brackets, quotes or with dots is a stop."""
    assert KEYWORDS.match(around + word.upper() + around) is KEYWORDS.words[word]


@pytest.mark.parametrize(
    "section, words, where",
    [
        ("stop", [], "stop.words"),
        ("stop", ["!!!"], "stop.words"),
        ("start", ["start", "Stop."], "start.words"),
    ],
)
def test_a_word_that_could_not_match_or_means_two_things_is_a_fault(section: str, words: list[str], where: str) -> None:
    """The error names file and key."""
    data = shipped()
    data["keywords.toml"][section]["words"] = words
    with pytest.raises(PolicyDataError, match=rf"keywords\.toml: {where}"):
        parse_keywords(data)
