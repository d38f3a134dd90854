"""Turns what a person wrote into sentences of plain words. Knows no language and no keyword.

Quoted messages and signatures are somebody else's words, or nobody's: `read` leaves them out and says so.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

LONGEST: Final = 4_096
"""Characters that are judged: WhatsApp's longest text. What comes behind them is not looked at."""

_PASSES: Final = 8
_OPENING: Final = '\u201c\u201e\u00ab\u300c\u300e"'
_CLOSING: Final = '\u201d\u201c\u00bb\u300d\u300f"'
_QUOTES: Final = re.compile(f"[{_OPENING}][^{_OPENING}{_CLOSING}]*[{_CLOSING}]")
_WORD: Final = re.compile(r"\S+")
_URL: Final = re.compile(r"[\w-]+(?:\.[\w-]+)+/\S*")
_END: Final = re.compile("[.!?;\n\r\u2028\u2029\u3002\u0964\u06d4\u061f\u061b]+")
_SPELLED: Final = re.compile(r"(?<!\w)(?:[^\W\d_][.\-_*]\s?){2,}[^\W\d_](?!\w)")
_SPACE: Final = re.compile(r"\s")
_ASCII_WORD: Final = re.compile(r"[a-z0-9]+")
_ASCII_DROPPED: Final = {ord(one): None for one in "'`"} | dict.fromkeys((*range(32), 127))
_MARK: Final = re.compile(r"\s*(?:--|__|\u2014|\u2013)")
_ELONGATED: Final = re.compile(r"([^\W\d_])\1{2,}")
_MOST_SIGNED: Final = 6
_MOST_WORDS: Final = 5


@dataclass(frozen=True, slots=True)
class Writing:
    """What a person wrote, as sentences of folded words, each joined by single spaces.

    `sentences`: all of them, quotations and signatures left out. `whole`: everything as one sentence, quotations
    included. `signed`: how many sentences stand before lines that look like a signature, None without such lines.
    """

    whole: str
    sentences: tuple[str, ...]
    signed: int | None = None


def fold(text: str) -> str:
    """Fold a text to its words: case, width, accents, punctuation, emoji and invisible characters do not matter.

    Letters written one by one are one word, and a letter held down is one letter. Folding twice changes nothing.
    """
    before, passes = None, 0
    while text != before and passes < _PASSES:
        before, text, passes = text, _fold_once(text), passes + 1
    return text


def read(text: str, is_foreign: Callable[[str], bool]) -> Writing:
    """Read a text. `is_foreign`: whether a folded line begins what is not the person's own, such as "sent from my"."""
    text = unicodedata.normalize("NFKC", text[:LONGEST])
    lines = _own_lines(text, is_foreign)
    own = "\n".join(lines)
    unquoted = _QUOTES.sub(lambda quote: quote[0] if len(fold(quote[0]).split()) < 2 else "\n", own)
    if not fold(unquoted):
        unquoted = own
    return Writing(whole=fold(own), sentences=_sentences(unquoted), signed=_signed(lines))


def _sentences(text: str) -> tuple[str, ...]:
    text = _WORD.sub(lambda found: " " if _is_url(found[0]) else found[0], text)
    text = _SPELLED.sub(lambda found: re.sub(r"[\W_]", "", found[0]), text)
    folded = (fold(sentence) for sentence in _END.split(text))
    return tuple(sentence for sentence in folded if sentence)


def _is_url(word: str) -> bool:
    return "://" in word or word.startswith("www.") or _URL.fullmatch(word) is not None


def _own_lines(text: str, is_foreign: Callable[[str], bool]) -> list[str]:
    """Keep the lines before a signature's mark or a quoted message, without those that quote by `>`."""
    kept: list[str] = []
    for line in text.splitlines():
        if any(fold(one) for one in kept) and (_MARK.match(line) or is_foreign(fold(line))):
            break
        if not line.lstrip().startswith(">"):
            kept.append(line)
    return kept


def _signed(lines: list[str]) -> int | None:
    """Count the sentences of the first line, when all that follows could be a name, a company, a number."""
    written = [line for line in lines if fold(line)]
    rest = written[1:]
    if not 0 < len(rest) <= _MOST_SIGNED:
        return None
    for line in rest:
        words = line.split()
        if len(words) > _MOST_WORDS or line.rstrip().endswith(("?", "!")) or any(word[0].islower() for word in words):
            return None
    return len(_sentences(written[0]))


def _fold_once(text: str) -> str:
    if text.isascii():
        # most texts, in a tenth of the time
        plain = _SPACE.sub(" ", text.lower()).translate(_ASCII_DROPPED)
        return " ".join(_joined(_ASCII_WORD.findall(_ELONGATED.sub(r"\1", plain))))
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    text = unicodedata.normalize("NFC", "".join(one for one in text if not _is_dropped(one)))
    text = text.replace("\u0131", "i")  # the capital of the dotless i is an I like any other
    words = "".join(one if _is_wordlike(one) else " " for one in text)
    return " ".join(_joined(_ELONGATED.sub(r"\1", words).split()))


def _joined(words: list[str]) -> list[str]:
    """Join three or more letters that stand alone, one after the other: S T O P."""
    found: list[str] = []
    run: list[str] = []
    for word in [*words, ""]:
        if len(word) == 1 and word.upper() != word:
            run.append(word)
            continue
        found.extend(["".join(run)] if len(run) > 2 else run)
        run = []
        found.append(word)
    return found[:-1]


def _is_dropped(character: str) -> bool:
    """Accents of Latin, Greek and Cyrillic, Arabic vowel signs and hamza, apostrophes, and what is not seen."""
    category = unicodedata.category(character)
    return (
        "\u0300" <= character <= "\u036f"
        or "\u064b" <= character <= "\u0655"
        or "\ufe00" <= character <= "\ufe0f"
        or character in "\u0640\u0670'\u2018\u2019\u02bc`\u00b4"
        or (category in ("Cc", "Cf") and not character.isspace())
    )


def _is_wordlike(character: str) -> bool:
    return unicodedata.category(character)[0] in "LMN"
