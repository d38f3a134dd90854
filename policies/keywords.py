"""Recognises keywords in a text or a tap: stop, start, help, or a suspected stop.

Laws, each proved by a test in tests/policies:

* Twilio's own verdict outranks the text.
* A keyword counts if it is the whole message.
* A stop word is a stop if only courtesy, a signature or a quotation surrounds it.
* A text that may mean stop is suspected.
* A phrase that the data ignores is never a stop.
* The payload of a tap decides, never a word in its label. The exact labels of Meta's own buttons
  are the only exception.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from policies.text_folding import MAX_TEXT_CHARACTERS, fold, read
from sendwindow.vocabulary import Channel


class Keyword(StrEnum):
    """The meaning of a text or a tap.

    `suspected`: it may mean stop, so marketing waits until an operator has decided.
    `stop_marketing` and `start_marketing` change marketing only. `yes` is an ordinary answer in
    most cases; see `effect`.
    """

    STOP = "stop"
    STOP_MARKETING = "stop_marketing"
    START = "start"
    START_MARKETING = "start_marketing"
    YES = "yes"
    HELP = "help"
    SUSPECTED = "suspected"


STOPS: Final = frozenset({Keyword.STOP, Keyword.STOP_MARKETING, Keyword.SUSPECTED})
"""After one of these, the person may no longer want a message that already has a permit."""

_TOLD: Final = frozenset({Keyword.STOP, Keyword.START, Keyword.HELP})
_BLANK: Final = " \x00 "
_UNSPACED_FROM: Final = "\u0e00"
"""From this character (Thai) on are the scripts of languages that are searched inside words."""


@dataclass(frozen=True, slots=True)
class Keywords:
    """The folded phrases. `policies.keyword_data.parse_keywords` builds them.

    `words`: keywords that count as the whole message. `limited`: words that are a stop on these
    channels and suspected on the others. `taps`: the exact labels of Meta's own buttons.
    `suspects`, `ignored`: phrases that are found inside a sentence. `whole_suspects`: phrases that
    must be a whole sentence. `courtesy`: phrases that may surround a stop. `foreign`: how a line
    begins or ends that the person did not write. `triggers`: one word of each phrase that may mean
    stop. A text without a trigger needs no closer examination.
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

    def match(
        self, text: str, opt_out_type: str | None = None, channel: Channel = Channel.SMS
    ) -> Keyword | None:
        """Return the keyword in a typed text, or None if it has none.

        `opt_out_type` is Twilio's own verdict (Advanced Opt-Out: STOP, START or HELP), which
        outranks the text. Source: Twilio, "Customize users' opt-in and opt-out experience" (read
        2026-11-20); 47 CFR 64.1200(a)(10).
        """
        told = _told(opt_out_type)
        if told is not None:
            return told
        if not self._may_mean_stop(folded := fold(text[:MAX_TEXT_CHARACTERS])):
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

    def match_tap(
        self, label: str, payload: str, opt_out_type: str | None = None
    ) -> Keyword | None:
        """Return the keyword of a tap, or None if it has none.

        Only Meta's own buttons are recognised by their label. For all other buttons the payload
        decides: a stop word is a stop, and any other payload is an answer to our question.
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
        """Return the keyword of each sentence, except for sentences that are only courtesy."""
        judged = (
            (sentence, self._politely(sentence))
            for sentence in map(self._without_ignored, sentences)
        )
        return [self._sentence(sentence, bare, channel) for sentence, bare in judged if bare]

    def _sentence(self, sentence: str, bare: str, channel: Channel) -> Keyword | None:
        """Return whether one sentence is a stop, a suspected stop or neither (None).

        `bare`: the sentence without courtesy.
        """
        word = self._word(bare, channel)
        if word in (Keyword.STOP, Keyword.SUSPECTED):
            return word
        if not self.stops.sub(" ", f" {bare} ").split():
            return Keyword.STOP
        is_suspected = (
            bare in self.whole_suspects or self.suspects.search(f" {sentence} ") is not None
        )
        is_suspected = (
            is_suspected or self.unspaced_suspects.search(sentence.replace(" ", "")) is not None
        )
        return Keyword.SUSPECTED if is_suspected else None

    def _politely(self, sentence: str) -> str:
        return " ".join(self.courtesy.sub(" ", f" {sentence} ").split())

    def _without_ignored(self, sentence: str) -> str:
        """Return the sentence with ignored phrases replaced by a mark that is not a word.

        The mark keeps the words around an ignored phrase from forming a phrase of their own.
        """
        kept = self.ignored.sub(_BLANK, f" {sentence} ")
        return " ".join(self.unspaced_ignored.sub(_BLANK, kept).split())


def effect(keyword: Keyword | None, *, is_opted_out: bool) -> Keyword | None:
    """Return the effect of a keyword.

    `yes` means start if the person opted out. Otherwise it is an ordinary answer without an effect.
    """
    if keyword is Keyword.YES:
        return Keyword.START if is_opted_out else None
    return keyword


def _told(opt_out_type: str | None) -> Keyword | None:
    told = (opt_out_type or "").strip().lower()
    return Keyword(told) if told in _TOLD else None
