"""Decides what may happen to one message at one instant. Pure: the same input gives the same decision.

Laws, each held by a test in tests/policies:

* Deny by default: whatever no rule permits is refused; a fact that is not known permits nothing.
* Nobody who opted out gets a message; only the one confirmation of a stop passes, for five minutes.
* No marketing goes to somebody who may have meant stop, until a person has looked.
* What an error of the provider holds back does not go, and what the person did since ends it.
* Without consent nothing goes, save a freeform reply inside the window the person opened.
* Outside the window only a usable template goes on WhatsApp, only ACCOUNT_UPDATE on Messenger.
* Nothing is sent at or after expiry, and no wait outlasts it.
* A send stays valid no longer than the window, the consent and the message it rests on.
* Every decision tells each rule it looked at, in order, and carries no personal data.
* No facts make it raise.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from policies.blocks import check_blocks
from policies.case import Case
from policies.content import check_consent, choose_content
from policies.decision import Decision
from policies.facts import Draft, Facts
from policies.limits import (
    check_addresses,
    check_allow_list,
    check_channel,
    check_expiry,
    check_not_before,
    check_opt_out,
    check_pauses,
    check_person,
    check_person_cap,
    check_sender,
    check_suppression,
    check_suspected_stop,
)
from policies.policy import Policy
from sendwindow.vocabulary import Reason

Rule = Callable[[Case], Decision | None]

RULES: Final[tuple[Rule, ...]] = (
    check_expiry,
    check_sender,
    check_channel,
    check_addresses,
    check_allow_list,
    check_person,
    check_opt_out,
    check_not_before,
    check_pauses,
    check_suppression,
    check_blocks,
    check_person_cap,
    check_consent,
    check_suspected_stop,
    choose_content,
)
"""Every rule, in the order asked. The first that answers decides; later ones rely on what earlier ones found."""


def decide(draft: Draft, facts: Facts, policy: Policy, now: datetime) -> Decision:
    """Decide whether `draft` may be sent now, in which form, until when; or that it waits, or is refused.

    `now` is aware and read from the store's clock for this very attempt; raises nothing.
    """
    case = Case(draft, facts, policy, now)
    for rule in RULES:
        decision = rule(case)
        if decision is not None:
            return decision
    return case.refuse("deny_by_default", Reason.UNKNOWN_CHANNEL)
