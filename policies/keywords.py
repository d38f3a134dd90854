"""What a person means by a text or a tap: stop, start, help, perhaps stop, or nothing of the kind.

Laws, each held by a test in tests/policies: Twilio's own verdict outranks the text · a word that is the whole message
counts · a stop that only courtesy, a signature or a quotation surrounds is a stop · what may mean stop is suspected ·
what the data ignores is never a stop · a tap is judged by its payload, never by a word in its label.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from policies.wording import LONGEST, fold, read
from sendwindow.vocabulary import Channel


class Keyword(StrEnum):
    """What a text or a tap says. `yes` is an ordinary answer: see `effect`.

    `suspected` may mean stop: marketing is held until a person has looked. The two about marketing change marketing
    only.
    """

    STOP = "stop"
    STOP_MARKETING = "stop_marketing"
    START = "start"
    START_MARKETING = "start_marketing"
    YES = "yes"
    HELP = "help"
    SUSPECTED = "suspected"


STOPS: Final = frozenset({Keyword.STOP, Keyword.STOP_MARKETING, Keyword.SUSPECTED})
"""After these a POST that was permitted before may be one the person no longer wants."""

_TOLD: Final = frozenset({Keyword.STOP, Keyword.START, Keyword.HELP})
_BLANK: Final = " \x00 "
_UNSPACED_FROM: Final = "\u0e00"
"""From Thai on, scripts of languages that are searched inside words."""


@dataclass(frozen=True, slots=True)
class Keywords:
    """The phrases, folded. Built by `policies.phrases.parse_keywords`.

    `words`: what counts as the whole message. `limited`: words that are a stop on these channels and suspected on
    others. `taps`: the exact labels of Meta's own buttons. `suspects`, `ignored`: found inside a sentence;
    `whole_suspects`: a sentence of its own. `courtesy`: what may surround a stop. `foreign`: how lines begin or end
    that are not the person's own. `triggers`: one word of each phrase that may mean stop; a text without any of them
    needs no closer look.
    """

    words: Mapping[str, Keyword]
    limited: Mapping[str, frozenset[Channel]]
    taps: Mapping[str, Keyword]
    stops: re.Pattern[str]
    courtesy: re.Pattern[str]
    whole_suspects: frozenset[str]
    suspects: re.Pattern[str]
    unspaced_suspects: re.Pattern[str]
    ignored: re.Pattern[str]
    unspaced_ignored: re.Pattern[str]
    foreign: re.Pattern[str]
    triggers: frozenset[str]

    def match(self, text: str, opt_out_type: str | None = None, channel: Channel = Channel.SMS) -> Keyword | None:
        """Return what a typed text says, None when it says nothing of the kind.

        `opt_out_type` is Twilio's own verdict (Advanced Opt-Out: STOP, START or HELP) and outranks the text.
        Source: Twilio, "Customize users' opt-in and opt-out experience" (read 2026-11-20); 47 CFR 64.1200(a)(10).
        """
        told = _told(opt_out_type)
        if told is not None:
            return told
        if not self._may_mean_stop(folded := fold(text[:LONGEST])):
            return self._word(folded, channel)
        writing = read(text, lambda line: self.foreign.search(line) is not None)
        whole = self._word(writing.whole, channel)
        if whole is not None:
            return whole
        kinds = self._kinds(writing.sentences, channel)
        if Keyword.STOP in kinds:
            own = self._kinds(writing.sentences[: writing.signed], channel)
            return Keyword.STOP if set(own) == {Keyword.STOP} else Keyword.SUSPECTED
        return Keyword.SUSPECTED if Keyword.SUSPECTED in kinds else None

    def _may_mean_stop(self, folded: str) -> bool:
        is_unspaced = any(one >= _UNSPACED_FROM for one in folded)
        return is_unspaced or not self.triggers.isdisjoint(folded.split())

    def match_tap(self, label: str, payload: str, opt_out_type: str | None = None) -> Keyword | None:
        """Return what a tap says. Only Meta's own buttons are known by their label; all others by their payload.

        A payload that is a stop word opts out; any other payload is an answer to what we asked.
        """
        told = _told(opt_out_type)
        if told is not None:
            return told
        if label in self.taps:
            return self.taps[label]
        word = self.words.get(fold(payload))
        return word if word in (Keyword.STOP, Keyword.STOP_MARKETING) else None

    def _word(self, folded: str, channel: Channel) -> Keyword | None:
        word = self.words.get(folded)
        channels = self.limited.get(folded)
        return word if channels is None or channel in channels else Keyword.SUSPECTED

    def _kinds(self, sentences: Sequence[str], channel: Channel) -> list[Keyword | None]:
        """Judge sentences one by one, without those that are courtesy and nothing else."""
        judged = ((sentence, self._politely(sentence)) for sentence in map(self._without_ignored, sentences))
        return [self._sentence(sentence, bare, channel) for sentence, bare in judged if bare]

    def _sentence(self, sentence: str, bare: str, channel: Channel) -> Keyword | None:
        """Judge one sentence: a stop, perhaps one, or anything else. `bare`: the same without courtesy."""
        word = self._word(bare, channel)
        if word in (Keyword.STOP, Keyword.SUSPECTED):
            return word
        if not self.stops.sub(" ", f" {bare} ").split():
            return Keyword.STOP
        is_suspected = bare in self.whole_suspects or self.suspects.search(f" {sentence} ") is not None
        is_suspected = is_suspected or self.unspaced_suspects.search(sentence.replace(" ", "")) is not None
        return Keyword.SUSPECTED if is_suspected else None

    def _politely(self, sentence: str) -> str:
        return " ".join(self.courtesy.sub(" ", f" {sentence} ").split())

    def _without_ignored(self, sentence: str) -> str:
        """Put a blank that is no word in the place of what is ignored, so that its neighbours do not meet."""
        kept = self.ignored.sub(_BLANK, f" {sentence} ")
        return " ".join(self.unspaced_ignored.sub(_BLANK, kept).split())


def effect(keyword: Keyword | None, *, is_opted_out: bool) -> Keyword | None:
    """Return what a keyword does: `yes` starts again for someone who opted out, from others it is an answer."""
    if keyword is Keyword.YES:
        return Keyword.START if is_opted_out else None
    return keyword


def _told(opt_out_type: str | None) -> Keyword | None:
    told = (opt_out_type or "").strip().lower()
    return Keyword(told) if told in _TOLD else None
