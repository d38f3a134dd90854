"""Builds `Keywords` from the phrases in `policies/data/` and from the settings.

Does not open files itself.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from policies.keywords import Keyword, Keywords
from policies.text_folding import fold
from policies.toml_reader import DataFault, Table, raise_faults
from sendwindow.vocabulary import Channel

FILES: Final = ("keywords.toml", "phrases.toml", "buttons.toml")
"""The names of the files in `policies/data/` that `parse_keywords` needs."""

EXTENSIBLE: Final = ("stop", "start", "suspected", "ignored")
"""The labels to which settings may add words.

Settings cannot remove words, so no setting can turn a stop word into an ordinary answer.
"""

_SETTINGS_FILE: Final = "sendwindow.toml"
_MAX_WORDS: Final = 4
_MAX_GAP_CHARACTERS: Final = 12
_UNSPACED: Final = frozenset({"ja", "ko", "th", "zh"})
"""Languages in which a phrase is also found inside a word.

They are written without spaces, or their words take endings.
"""

_LABELS: Final = frozenset({"suspected", "ignored", "courtesy", "foreign"})


class _Phrases:
    """The phrases that were read so far.

    Each one is folded. Those that become part of a pattern are stored as the source of a regular
    expression.
    """

    def __init__(self) -> None:
        self.words: dict[str, Keyword] = {}
        self.limited: dict[str, frozenset[Channel]] = {}
        self.whole_suspects: set[str] = set()
        self.triggers: set[str] = set()
        self.spaced: dict[str, list[str]] = {label: [] for label in _LABELS}
        self.unspaced: dict[str, list[str]] = {label: [] for label in _LABELS}

    def add(self, label: str, language: str, folded: str) -> None:
        """Add a phrase that is searched inside a sentence."""
        is_unspaced = language in _UNSPACED and label in ("suspected", "ignored")
        if label == "suspected" and not is_unspaced:
            self.may_be(folded)
        text = re.escape(folded.replace(" ", "") if is_unspaced else folded)
        (self.unspaced if is_unspaced else self.spaced)[label].append(text)

    def may_be(self, folded: str) -> None:
        """Ensure that one word of the phrase is a trigger, so that texts with it are examined.

        If no word of the phrase is a trigger yet, the longest one becomes a trigger.
        """
        words = folded.split()
        if self.triggers.isdisjoint(words):
            self.triggers.add(max(words, key=len))


def parse_keywords(
    data: Mapping[str, Mapping[str, object]], extra: Mapping[str, Sequence[str]] | None = None
) -> Keywords:
    """Build the keywords from the parsed `FILES` and from the words that settings add.

    `extra`: these words by label, where the labels are those in `EXTENSIBLE`. Raises
    `PolicyDataError`, which lists every fault with file, key and remedy.
    """
    faults: list[DataFault] = []
    found = _Phrases()
    words = Table("keywords.toml", "", data.get("keywords.toml"), faults)
    for row in words.tables("words"):
        _read_words(row, found)
    words.done()
    phrases = Table("phrases.toml", "", data.get("phrases.toml"), faults)
    for row in phrases.tables("phrases"):
        _read_phrases(row, found)
    for row in phrases.tables("pairs"):
        _read_pair(row, found)
    phrases.done()
    taps = _read_buttons(Table("buttons.toml", "", data.get("buttons.toml"), faults), found)
    _read_settings(Table(_SETTINGS_FILE, "words", dict(extra or {}), faults), found)
    raise_faults(faults)
    stops = [word for word, keyword in found.words.items() if keyword is Keyword.STOP]
    return Keywords(
        words=MappingProxyType(found.words),
        limited=MappingProxyType(found.limited),
        taps=MappingProxyType(taps),
        stops=_pattern(map(re.escape, stops)),
        courtesy=_pattern(found.spaced["courtesy"]),
        whole_suspects=frozenset(found.whole_suspects),
        suspects=_pattern(found.spaced["suspected"]),
        unspaced_suspects=_pattern(found.unspaced["suspected"], spaced=False),
        ignored=_pattern(found.spaced["ignored"]),
        unspaced_ignored=_pattern(found.unspaced["ignored"], spaced=False),
        foreign=re.compile(
            "|".join(f"^{text}(?= |$)|(?:^| ){text}$" for text in found.spaced["foreign"])
        ),
        triggers=frozenset(found.triggers),
    )


def _pattern(sources: Iterable[str], *, spaced: bool = True) -> re.Pattern[str]:
    """Return a pattern that matches any of `sources`, the longest first.

    `spaced`: a match must stand between blanks. Two adjacent matches may share a blank.
    """
    either = "|".join(sorted(set(sources), key=lambda text: (-len(text), text)))
    if not either:
        return re.compile(r"(?!)")
    return re.compile(f"(?<= )(?:{either})(?= )" if spaced else either)


def _dated(row: Table) -> None:
    row.text("source")
    row.date("read")


def _read_words(row: Table, found: _Phrases) -> None:
    _dated(row)
    row.text("language")
    label = row.choice("label", Keyword)
    channels = _channels(row) if row.has("channels") else None
    for folded in _folded(row, "words"):
        if found.words.setdefault(folded, label) is not label:
            row.fault("words", f"words of one label each; {folded!r} has another one already")
        if label is Keyword.STOP:
            found.may_be(folded)
        if channels is not None:
            found.limited[folded] = channels
    row.done()


def _channels(row: Table) -> frozenset[Channel]:
    names = row.texts("channels")
    if not all(name in tuple(Channel) for name in names):
        row.fault("channels", "channels: " + ", ".join(Channel))
    return frozenset(channel for channel in Channel if channel in names)


def _read_phrases(row: Table, found: _Phrases) -> None:
    _dated(row)
    language = row.text("language")
    label = row.text("label")
    is_whole = row.truth("whole")
    if label not in _LABELS:
        row.fault("label", "one of " + ", ".join(sorted(_LABELS)))
    elif is_whole and label != "suspected":
        row.fault("whole", "no such key: only a suspected phrase may have to be the whole sentence")
    for folded in _folded(row, "phrases"):
        if is_whole:
            found.whole_suspects.add(folded)
            found.may_be(folded)
        elif label in _LABELS:
            found.add(label, language, folded)
    row.done()


def _read_pair(row: Table, found: _Phrases) -> None:
    """Read the two lists of a pair.

    A phrase of `first` that is followed by a phrase of `then` within a few words makes a sentence
    suspected.
    """
    _dated(row)
    language = row.text("language")
    within = row.whole("within", least=0, most=20, default=_MAX_WORDS)
    first, then = (_folded(row, key) for key in ("first", "then"))
    if language in _UNSPACED:
        one, other = (
            "|".join(re.escape(text.replace(" ", "")) for text in part) for part in (first, then)
        )
        found.unspaced["suspected"].append(f"(?:{one}).{{0,{_MAX_GAP_CHARACTERS}}}(?:{other})")
    else:
        one, other = ("|".join(map(re.escape, part)) for part in (first, then))
        for folded in first:
            found.may_be(folded)
        found.spaced["suspected"].append(rf"(?:{one})(?: [^\s\0]+){{0,{within}}} (?:{other})")
    row.done()


def _read_buttons(file: Table, found: _Phrases) -> dict[str, Keyword]:
    """Read the labels of Meta's own buttons.

    If a person types such a label as a whole message, it means the same.
    """
    taps: dict[str, Keyword] = {}
    for row in file.tables("buttons"):
        _dated(row)
        row.truth("verified")
        label = row.choice("label", Keyword)
        if label not in (Keyword.STOP_MARKETING, Keyword.START_MARKETING):
            row.fault(
                "label", "stop_marketing or start_marketing: these buttons change marketing only"
            )
        for text in row.texts("texts"):
            taps[text] = label
            if found.words.setdefault(fold(text), label) is not label:
                row.fault("texts", f"labels that are not keywords of another kind, unlike {text!r}")
        row.done()
    file.done()
    return taps


def _read_settings(table: Table, found: _Phrases) -> None:
    for label in EXTENSIBLE:
        if not table.has(label):
            continue
        for folded in _folded(table, label):
            if label in ("suspected", "ignored"):
                found.add(label, "", folded)
            elif found.words.setdefault(folded, Keyword(label)) is not Keyword(label):
                table.fault(label, f"words that mean nothing else already, unlike {folded!r}")
            else:
                found.limited.pop(folded, None)
                found.may_be(folded)
    table.done()


def _folded(table: Table, key: str) -> tuple[str, ...]:
    folded = tuple(fold(text) for text in table.texts(key))
    if not all(folded):
        table.fault(key, "texts with letters in each")
    return tuple(text for text in folded if text)
