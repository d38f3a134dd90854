"""Stop, start and help words: matched against a whole message, never inside one."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from policies.reading import Table, raise_faults

FILES: Final = ("keywords.toml",)
"""The files of `policies/data/` that `parse_keywords` wants, by name."""


class Keyword(StrEnum):
    """What a whole message says. `yes` is an ordinary answer: see `effect`."""

    STOP = "stop"
    START = "start"
    YES = "yes"
    HELP = "help"


@dataclass(frozen=True, slots=True)
class Keywords:
    """The words, folded."""

    words: Mapping[str, Keyword]

    def match(self, text: str, opt_out_type: str | None = None) -> Keyword | None:
        """Answer the keyword that a message is as a whole, None for any other message.

        `opt_out_type` is Twilio's own verdict (Advanced Opt-Out: STOP, START or HELP) and outranks the text.
        Source: Twilio, "Customize users' opt-in and opt-out experience" (read 2026-11-20); 47 CFR 64.1200(a)(10).
        """
        if opt_out_type:
            told = opt_out_type.strip().lower()
            if told in (Keyword.STOP, Keyword.START, Keyword.HELP):
                return Keyword(told)
        return self.words.get(fold(text))


def effect(keyword: Keyword | None, *, is_opted_out: bool) -> Keyword | None:
    """Answer what a keyword does: `yes` starts again for someone who opted out, from others it is an answer."""
    if keyword is Keyword.YES:
        return Keyword.START if is_opted_out else None
    return keyword


def fold(text: str) -> str:
    """Fold case, width, spaces, invisible characters and whatever is neither letter, mark nor digit around the text."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    plain = "".join(character for character in plain if not _is_invisible(character))
    plain = re.sub(r"[\u2010-\u2015\u2212]", "-", unicodedata.normalize("NFKC", plain))
    start, end = 0, len(plain)
    while start < end and not _is_wordlike(plain[start]):
        start += 1
    while end > start and not _is_wordlike(plain[end - 1]):
        end -= 1
    return re.sub(r"\s+", " ", plain[start:end])


def parse_keywords(data: Mapping[str, Mapping[str, object]]) -> Keywords:
    """Build the words from the parsed `keywords.toml`. Raises `PolicyDataError` with every fault: file, key, remedy."""
    faults: list[str] = []
    file = Table("keywords.toml", "", data.get("keywords.toml"), faults)
    words: dict[str, Keyword] = {}
    for keyword in Keyword:
        table = file.table(keyword.value)
        table.text("source")
        table.date("read")
        for word in table.texts("words"):
            folded = fold(word)
            if not folded or words.get(folded, keyword) is not keyword:
                table.fault("words", f"words with letters, each for one keyword only, unlike {word!r}")
            words[folded] = keyword
        table.done()
    file.done()
    raise_faults(faults)
    return Keywords(words)


def _is_invisible(character: str) -> bool:
    category = unicodedata.category(character)
    return (category in ("Cc", "Cf") and not character.isspace()) or "\ufe00" <= character <= "\ufe0f"


def _is_wordlike(character: str) -> bool:
    return unicodedata.category(character)[0] in "LMN"
