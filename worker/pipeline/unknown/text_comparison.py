"""Compares what Twilio shows of a message with what we sent. Pure.

Laws: only the same text is proof · a text that Twilio or a template's approval may have changed
proves neither our message nor another one.
"""

import unicodedata
from enum import Enum
from typing import Final

_TRIAL_PREFIX: Final = "Sent from your Twilio trial account - "

_GRAM_LETTERS: Final = 3

_LOOK_ALIKES: Final = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u02bc\u0060\u00b4", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
        **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\ufe0e\ufe0f"),
    }
)
"""Punctuation that Twilio replaces with a GSM-7 look-alike, and characters without width.

Source: "Smart Encoding", read 2026-11-20. NFKC turns the ellipsis, fractions, ligatures and unusual
spaces into plain characters.
"""


class Likeness(Enum):
    """The result of a comparison."""

    SAME = "same"
    UNCLEAR = "unclear"
    """The text is not known, is not shown, or differs only by what may change on the way."""
    OTHER = "other"


def compare_text(ours: str, theirs: str) -> Likeness:
    """Compare a text that we sent with the text that Twilio shows.

    Smart Encoding may replace more characters than are listed here. A difference in accents,
    punctuation or blanks alone is therefore unclear. Emoji and other signs count: a text of nothing
    else is compared by them.
    """
    plain, shown = _plain(ours), _plain(theirs)
    if shown in (plain, _plain(_TRIAL_PREFIX + ours)):
        return Likeness.SAME
    letters = _letters(plain)
    return (
        Likeness.UNCLEAR
        if _letters(shown) in (letters, _letters(_TRIAL_PREFIX) + letters)
        else Likeness.OTHER
    )


def compare_template(rendered: str | None, theirs: str) -> Likeness:
    """Compare a template's rendered text, None when it is not known, with the text of Twilio.

    The body in the settings may be older than the approved one, or lack its header and footer. A
    text that shares most of its letter sequences with ours is therefore unclear, and does not count
    as another message's.
    """
    if rendered is None:
        return Likeness.UNCLEAR
    likeness = compare_text(rendered, theirs)
    if likeness is Likeness.OTHER and _is_near(
        _letters(_plain(rendered)), _letters(_plain(theirs))
    ):
        return Likeness.UNCLEAR
    return likeness


def _plain(text: str) -> str:
    # Translate before and after: NFKC itself produces look-alikes, such as a blank and an accent
    # from a lone accent.
    return " ".join(
        unicodedata.normalize("NFKC", text.translate(_LOOK_ALIKES)).translate(_LOOK_ALIKES).split()
    )


def _letters(text: str) -> str:
    return "".join(one for one in unicodedata.normalize("NFKD", text).casefold() if one.isalnum())


def _is_near(ours: str, theirs: str) -> bool:
    first, second = _grams(ours), _grams(theirs)
    return 2 * len(first & second) >= min(len(first), len(second))


def _grams(letters: str) -> set[str]:
    return {
        letters[at : at + _GRAM_LETTERS] for at in range(max(1, len(letters) - _GRAM_LETTERS + 1))
    }
