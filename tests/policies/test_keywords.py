"""What a text or a tap means: the shipped phrases on the labelled corpus, and laws for any text."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.keyword_data import EXTENSIBLE, parse_keywords
from policies.keywords import Keyword, effect
from policies.text_folding import MAX_TEXT_CHARACTERS, fold
from policies.toml_reader import PolicyDataError
from sendwindow.vocabulary import Channel
from tests.policies.given import KEYWORDS
from tests.support.shipped import shipped

DATA = Path(__file__).parents[2] / "policies" / "data"
CORPUS = [
    (text, None if row["label"] == "ignored" else Keyword(row["label"]))
    for row in tomllib.loads((DATA / "corpus.toml").read_text("utf-8"))["corpus"]
    for text in row["texts"]
]
STOP_WORDS = sorted(word for word, keyword in KEYWORDS.words.items() if keyword is Keyword.STOP)
SPACED = [
    word for word in STOP_WORDS if re.fullmatch(r"[a-z ]+", word) and word not in KEYWORDS.limited
]
PUNCTUATION = " \t\n.,!?\"'()*_-\u2026"


@pytest.mark.parametrize(("text", "keyword"), CORPUS)
def test_the_corpus_is_read_as_labelled(text: str, keyword: Keyword | None) -> None:
    """Each phrase of the corpus is read as its label says."""
    assert KEYWORDS.match(text) is keyword


def test_the_corpus_has_every_language_and_label() -> None:
    """Each language has stops in the corpus, so that no word list goes untested."""
    heard = {fold(text) for text, keyword in CORPUS if keyword is Keyword.STOP}
    for row in shipped()["keywords.toml"]["words"]:
        if row["label"] == "stop" and "channels" not in row:
            assert heard & {fold(word) for word in row["words"]}, row["language"]


@pytest.mark.parametrize(
    ("text", "told", "keyword"),
    [
        ("assez", "STOP", Keyword.STOP),
        ("weiter", "START", Keyword.START),
        ("que?", " help ", Keyword.HELP),
        ("STOP", None, Keyword.STOP),
        ("STOP", "", Keyword.STOP),
        ("STOP", "SOMETHING NEW", Keyword.STOP),
        ("no", "YES", None),
        ("please stop texting me", "START", Keyword.START),
    ],
)
def test_what_twilio_says_about_an_opt_out_outranks_the_text(
    text: str, told: str | None, keyword: Keyword | None
) -> None:
    """Twilio's opt-out verdict outranks the text, and an unknown verdict is ignored.

    Advanced Opt-Out knows the account's own words in other languages.
    """
    assert KEYWORDS.match(text, told) is keyword


@pytest.mark.parametrize("text", ["TD", "td", "Td."])
def test_a_word_of_one_channel_is_suspected_on_others(text: str) -> None:
    """TD is a stop in an SMS (退订), but "tudo" in a Portuguese chat, where an operator decides."""
    assert KEYWORDS.match(text, channel=Channel.SMS) is Keyword.STOP
    assert KEYWORDS.match(text, channel=Channel.WHATSAPP) is Keyword.SUSPECTED


@pytest.mark.parametrize(
    ("label", "payload", "keyword"),
    [
        ("Stop promotions", "STOP", Keyword.STOP_MARKETING),
        ("Stop promotions", "", Keyword.STOP_MARKETING),
        ("Resume promotions", "START", Keyword.START_MARKETING),
        ("stop promotions", "STOP", Keyword.STOP),
        ("Stop promotions!", "x", None),
        ("Cancel", "cancel_appointment_42", None),
        ("Cancel", "cancel", Keyword.STOP),
        ("End", "menu_end", None),
        ("Stop", "x", None),
        ("Weiter", "STOP", Keyword.STOP),
        ("Ja", "ARRÊT", Keyword.STOP),
        ("Ja", " stop ", Keyword.STOP),
        ("Please stop texting me", "please stop texting me", None),
        ("Start", "START", None),
        ("Help", "HELP", None),
        ("Yes", "YES", None),
        ("", "", None),
    ],
)
def test_a_tap_is_judged_by_its_payload(label: str, payload: str, keyword: Keyword | None) -> None:
    """Only the exact labels of Meta's own buttons count, for marketing only.

    A label is never a keyword.
    """
    assert KEYWORDS.match_tap(label, payload) is keyword


def test_twilios_verdict_outranks_a_tap_too() -> None:
    """Twilio's verdict of a STOP outranks a tap too, because Twilio blocks."""
    assert KEYWORDS.match_tap("Stop promotions", "STOP", "STOP") is Keyword.STOP


@pytest.mark.parametrize(
    ("keyword", "is_opted_out", "expected"),
    [
        (Keyword.YES, True, Keyword.START),
        (Keyword.YES, False, None),
        (Keyword.START, True, Keyword.START),
        (Keyword.START, False, Keyword.START),
        (Keyword.STOP, True, Keyword.STOP),
        (Keyword.SUSPECTED, False, Keyword.SUSPECTED),
        (Keyword.HELP, False, Keyword.HELP),
        (None, True, None),
    ],
)
def test_yes_starts_again_only_for_someone_who_opted_out(
    keyword: Keyword | None, is_opted_out: bool, expected: Keyword | None
) -> None:
    """YES opts in only a person who opted out before, because YES answers many questions."""
    assert effect(keyword, is_opted_out=is_opted_out) is expected


@given(st.text(max_size=60))
def test_folding_is_total_and_settles_at_once(text: str) -> None:
    """No text raises, and folding a folded text changes nothing."""
    assert fold(fold(text)) == fold(text)
    KEYWORDS.match(text, text)
    KEYWORDS.match_tap(text, text, text)


@given(st.text(max_size=60))
def test_case_and_width_never_matter(text: str) -> None:
    """A text in capitals folds to the same as in small letters."""
    assert fold(text.casefold()) == fold(text)


@given(st.sampled_from(STOP_WORDS), st.text(PUNCTUATION, max_size=5))
def test_punctuation_around_a_word_never_hides_it(word: str, around: str) -> None:
    """A stop in brackets, in quotes or with dots is a stop."""
    assert KEYWORDS.match(around + word.upper() + around) is Keyword.STOP


@pytest.mark.parametrize("word", [word for word in SPACED if " " in word])
def test_a_text_that_is_all_quotation_is_the_persons_own(word: str) -> None:
    """A text that is all quotation counts, although a quotation inside a text is left out."""
    assert KEYWORDS.match(f'"{word}"') is Keyword.STOP


@given(
    st.lists(st.sampled_from(SPACED), min_size=1, max_size=3),
    st.sampled_from(["please", "thank you", "merci", "bitte", "gracias"]),
    st.sampled_from([" ", ". ", ", ", "! ", "\n"]),
)
def test_stops_and_courtesy_are_a_stop(stops: list[str], politely: str, between: str) -> None:
    """A stop is a stop, however often and politely it is written."""
    assert KEYWORDS.match(between.join([politely, *stops, politely])) is Keyword.STOP


@given(
    st.sampled_from(SPACED),
    st.sampled_from(["where is my order", "i have a question", "the weather is fine"]),
)
def test_a_stop_that_stands_as_a_sentence_is_at_least_suspected(word: str, other: str) -> None:
    """A stop that is a sentence of its own is at least suspected."""
    for text in (f"{word}. {other}", f"{other}! {word.upper()}", f"{other}\n{word}\n{other}"):
        assert KEYWORDS.match(text) in {Keyword.STOP, Keyword.SUSPECTED}


def test_what_is_endless_is_judged_by_its_beginning() -> None:
    """A text of a megabyte costs no more than one of four thousand characters."""
    assert KEYWORDS.match("STOP. " + "x" * 1_000_000) is Keyword.SUSPECTED
    assert KEYWORDS.match("x " * MAX_TEXT_CHARACTERS + "STOP") is None


def words(label: str, *texts: str, **more: Any) -> dict[str, Any]:
    return {
        "label": label,
        "language": "en",
        "source": "x",
        "read": shipped_date(),
        "words": list(texts),
        **more,
    }


def shipped_date() -> object:
    return shipped()["keywords.toml"]["words"][0]["read"]


@pytest.mark.parametrize(
    ("file", "section", "row", "where"),
    [
        ("keywords.toml", "words", words("stop"), "words"),
        ("keywords.toml", "words", words("stop", "!!!"), "words"),
        ("keywords.toml", "words", words("start", "Stop."), "words"),
        ("keywords.toml", "words", words("stop", "nope", channels=["fax"]), "channels"),
        ("keywords.toml", "words", words("perhaps", "nope"), "label"),
        ("phrases.toml", "phrases", words("perhaps") | {"phrases": ["x"]}, "label"),
        ("phrases.toml", "phrases", words("ignored") | {"phrases": ["x"], "whole": True}, "whole"),
        ("phrases.toml", "pairs", words("x") | {"first": ["x"], "then": []}, "then"),
        ("buttons.toml", "buttons", words("stop") | {"texts": ["x"], "verified": False}, "label"),
        (
            "buttons.toml",
            "buttons",
            words("stop_marketing") | {"texts": ["Help"], "verified": False},
            "texts",
        ),
    ],
)
def test_a_phrase_that_could_not_match_or_means_two_things_is_a_fault(
    file: str, section: str, row: dict[str, Any], where: str
) -> None:
    """A phrase that cannot match, or has two meanings, is a fault with file and key."""
    data = shipped()
    data[file][section].append(row)
    with pytest.raises(PolicyDataError, match=rf"{re.escape(file)}: {section}\[\d+\]\.{where}"):
        parse_keywords(data)


def test_settings_add_words() -> None:
    """Words from the settings count next to the shipped ones and are folded like them."""
    extra = {
        "stop": ["Klaar!", "TD"],
        "start": ["hervat"],
        "suspected": ["het is goed geweest"],
        "ignored": ["stop it now"],
    }
    assert set(extra) == set(EXTENSIBLE)
    found = parse_keywords(shipped(), extra)
    assert found.match("KLAAR.") is Keyword.STOP
    assert found.match("td", channel=Channel.WHATSAPP) is Keyword.STOP
    assert found.match("hervat") is Keyword.START
    assert found.match("Zo, het is goed geweest!") is Keyword.SUSPECTED
    assert found.match("please stop texting me, stop it now") is Keyword.SUSPECTED
    assert found.match("stop it now") is None
    assert KEYWORDS.match("stop it") is Keyword.SUSPECTED


def test_languages_may_be_left_out() -> None:
    """Without languages that are written without spaces, the others are still read."""
    data = shipped()
    for section in ("phrases", "pairs"):
        rows = data["phrases.toml"][section]
        data["phrases.toml"][section] = [
            row for row in rows if row["language"] not in {"zh", "ja", "ko"}
        ]
    found = parse_keywords(data)
    assert found.match("请停止发送短信") is None
    assert found.match("please stop texting me") is Keyword.SUSPECTED


@pytest.mark.parametrize("word", ["stop", "Cancel", "ARRÊT"])
def test_no_setting_makes_a_stop_word_an_answer(word: str) -> None:
    """No setting can ignore a whole message that the law or Twilio calls a stop."""
    assert parse_keywords(shipped(), {"ignored": [word]}).match(word) is Keyword.STOP


@pytest.mark.parametrize(
    "extra", [{"start": ["stop"]}, {"stop": ["yes"]}, {"stop": [""]}, {"stopp": ["x"]}]
)
def test_a_setting_that_contradicts_what_ships_is_a_fault(extra: dict[str, list[str]]) -> None:
    """A setting that contradicts the shipped words is a fault that names the setting."""
    with pytest.raises(PolicyDataError, match=r"sendwindow\.toml: words\."):
        parse_keywords(shipped(), extra)
