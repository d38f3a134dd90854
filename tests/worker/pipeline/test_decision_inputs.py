"""Joining stored facts with the settings: what a decision sees of sender, account and template."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from policies.facts import Approval, PersonFact
from sendwindow.contract import Freeform, SendMessage, Template
from sendwindow.vocabulary import Category, Channel, Purpose
from tests.support.cast import GRETA
from tests.support.pipeline_world import settings_for
from worker.pipeline.decision_inputs import join_facts, read_draft
from worker.ports.stored_facts import StoredFacts, StoredState
from worker.settings.schema import TemplateLanguage
from worker.settings.settings import Settings

NOW: Final = datetime(2026, 11, 21, 12, tzinfo=UTC)
EN: Final = "HX" + "0" * 32
DE: Final = "HX" + "1" * 32
STORED: Final = StoredFacts("digest", PersonFact(revision=4))


def settings(**languages: TemplateLanguage) -> Settings:
    whole = settings_for("http://127.0.0.1:1")
    order = replace(whole.templates["order"], languages=languages or {"en": TemplateLanguage(EN)})
    return replace(whole, templates={"order": order})


def message(**wish: Any) -> SendMessage:
    fields: dict[str, Any] = {
        "to": GRETA,
        "sender": "shop",
        "purpose": Purpose.UTILITY,
        "freeform": Freeform(body="hello"),
    }
    return SendMessage(**(fields | wish))


def wish(name: str = "order", language: str | None = "en") -> Template:
    return Template(name=name, language=language, variables={"1": "A-1"})


def test_a_sender_is_joined_with_what_the_store_says_of_it_and_its_account() -> None:
    """Pauses and revisions come from the store, and everything else from the settings."""
    stored = replace(STORED, sender=StoredState(3, None, NOW), account=StoredState(5, None, NOW))
    sender = join_facts(message(), stored, settings()).sender
    assert sender is not None
    assert sender.channel is Channel.WHATSAPP
    assert (sender.revision, sender.account_revision) == (3, 5)
    assert (sender.paused_until, sender.account_paused_until) == (NOW, NOW)


def test_a_sender_or_account_in_a_state_that_only_a_newer_version_knows_waits() -> None:
    """An unknown state of a sender or an account permits nothing and is read again like a pause."""
    odd = StoredState(3, "half_open")
    sender = join_facts(message(), replace(STORED, sender=odd, account=odd), settings()).sender
    assert sender is not None
    for until in (sender.paused_until, sender.account_paused_until):
        assert until is not None
        assert until.year == 9999


def test_an_unknown_sender_or_account_is_no_sender() -> None:
    """An unknown sender or account is refused by name."""
    assert join_facts(message(sender="gone"), STORED, settings()).sender is None
    without_account = replace(settings(), accounts={})
    assert join_facts(message(), STORED, without_account).sender is None


BOTH: Final = {"en": TemplateLanguage(EN), "de": TemplateLanguage(DE)}
ONE: Final = {"en": TemplateLanguage(EN)}


@pytest.mark.parametrize(
    "languages, name, language, content_sid",
    [
        (BOTH, "order", "de", DE),
        (BOTH, "order", None, None),
        (BOTH, "order", "fr", None),
        (BOTH, DE, None, DE),
        (BOTH, EN, "en", EN),
        (ONE, "order", None, EN),
        (ONE, "order", "de", None),
    ],
)
def test_a_template_is_found_by_name_or_content_sid_in_its_language(
    languages: dict[str, TemplateLanguage], name: str, language: str | None, content_sid: str | None
) -> None:
    """A template is found in the language asked for, that of its ContentSid, or its only one."""
    fact = join_facts(
        message(template=wish(name, language)), STORED, settings(**languages)
    ).template
    assert fact is not None
    assert (fact.name, fact.content_sid, fact.category) == ("order", content_sid, Category.UTILITY)


def test_an_unknown_template_and_no_template_are_both_none() -> None:
    """An unknown template and no template are both None; the draft shows which of the two it is."""
    assert join_facts(message(template=wish("gone")), STORED, settings()).template is None
    assert join_facts(message(), STORED, settings()).template is None


@pytest.mark.parametrize(
    "state, approval",
    [
        (None, Approval.PENDING),
        ("paused", Approval.PAUSED),
        ("approved", Approval.APPROVED),
        ("a state of tomorrow", Approval.DISABLED),
    ],
)
def test_what_the_provider_said_about_a_template_outranks_the_configuration(
    state: str | None, approval: Approval
) -> None:
    """Twilio's state of a template outranks the settings, and an unknown state is not usable."""
    stored = replace(STORED, template=StoredState(2, state), content_sid=EN)
    languages = {"en": TemplateLanguage(EN, Approval.PENDING)}
    fact = join_facts(message(template=wish()), stored, settings(**languages)).template
    assert fact is not None
    assert (fact.approval, fact.revision) == (approval, 2)


def test_what_was_said_about_another_content_sid_does_not_count() -> None:
    """A state of another ContentSid does not count.

    The store may know other settings than this worker.
    """
    stored = replace(STORED, template=StoredState(2, "disabled"), content_sid=DE)
    fact = join_facts(message(template=wish()), stored, settings()).template
    assert fact is not None
    assert (fact.approval, fact.revision) == (Approval.APPROVED, 0)


def test_a_draft_says_what_the_message_wants() -> None:
    """A draft takes channel and kind of address from the address, and the expiry from the
    ledger.
    """
    draft = read_draft(message(template=wish()), NOW)
    assert (draft.channel, draft.to_is_phone, draft.expires_at) == (Channel.WHATSAPP, True, NOW)
    assert draft.freeform is not None
    assert draft.template is not None
    hidden = read_draft(message(to="whatsapp:US.abc123"), NOW)
    assert (hidden.channel, hidden.to_is_phone) == (Channel.WHATSAPP, False)
