"""Turns what a person wrote into sentences of plain words.

Knows neither languages nor keywords. Quoted messages and signatures are not the person's own words,
so `read` leaves them out and reports it.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

MAX_TEXT_CHARACTERS: Final = 4_096
"""How many characters we examine, which is the length of WhatsApp's longest text.

The rest of a longer text is ignored.
"""

_MAX_PASSES: Final = 8
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
_MAX_SIGNED_WORDS: Final = 6
_MAX_WORDS: Final = 5


@dataclass(frozen=True, slots=True)
class Writing:
    """What a person wrote, as sentences of folded words that are joined by single spaces.

    `sentences`: all sentences without quotations and marked signatures. `whole`: the person's own
    lines as one sentence, with quotations. `signed`: how many sentences stand before lines that
    look like a signature; None if there are no such lines.
    """

    whole: str
    sentences: tuple[str, ...]
    signed: int | None = None


def fold(text: str) -> str:
    """Return a text reduced to its words.

    This removes differences in case and width, accents, punctuation, emoji and invisible
    characters. Letters that are written one by one become one word, and a letter that is repeated
    three times or more becomes one letter. Folding a folded text changes nothing.
    """
    before, passes = None, 0
    while text != before and passes < _MAX_PASSES:
        before, text, passes = text, _fold_once(text), passes + 1
    return text


def read(text: str, is_foreign: Callable[[str], bool]) -> Writing:
    """Return the sentences of a text.

    `is_foreign` returns whether a folded line begins text that the person did not write, such as
    "sent from my".
    """
    text = unicodedata.normalize("NFKC", text[:MAX_TEXT_CHARACTERS])
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
    """Return the lines before the mark of a signature or a quoted message.

    Leaves out lines that begin with `>`, because they are quotations.
    """
    kept: list[str] = []
    for line in text.splitlines():
        if any(fold(one) for one in kept) and (_MARK.match(line) or is_foreign(fold(line))):
            break
        if not line.lstrip().startswith(">"):
            kept.append(line)
    return kept


def _signed(lines: list[str]) -> int | None:
    """Return the number of sentences in the first line, if the other lines may be a signature.

    They may be one if each could be a name, a company or a number. Otherwise return None.
    """
    written = [line for line in lines if fold(line)]
    rest = written[1:]
    if not 0 < len(rest) <= _MAX_SIGNED_WORDS:
        return None
    for line in rest:
        words = line.split()
        if (
            len(words) > _MAX_WORDS
            or line.rstrip().endswith(("?", "!"))
            or any(word[0].islower() for word in words)
        ):
            return None
    return len(_sentences(written[0]))


def _fold_once(text: str) -> str:
    if text.isascii():
        # Most texts are ASCII, and this path takes a tenth of the time.
        plain = _SPACE.sub(" ", text.lower()).translate(_ASCII_DROPPED)
        return " ".join(_joined(_ASCII_WORD.findall(_ELONGATED.sub(r"\1", plain))))
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    text = unicodedata.normalize("NFC", "".join(one for one in text if not _is_dropped(one)))
    text = text.replace("\u0131", "i")  # its capital is an ordinary I
    words = "".join(one if _is_wordlike(one) else " " for one in text)
    return " ".join(_joined(_ELONGATED.sub(r"\1", words).split()))


def _joined(words: list[str]) -> list[str]:
    """Return the words, with three or more successive single letters (S T O P) joined to a word."""
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
    """Return whether folding removes a character.

    It removes accents of Latin, Greek and Cyrillic, Arabic vowel signs and hamza, apostrophes, and
    invisible characters.
    """
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
