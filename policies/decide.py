"""Decides what happens to one message at one instant.

This module is pure: the same input gives the same decision.

Laws, each proved by a test in tests/policies:

* Deny by default. A message that no rule permits is refused, and an unknown fact permits nothing.
* A person who opted out gets no message. The only exception is one confirmation of the stop, within
  five minutes.
* A person who may have meant stop gets no marketing until an operator has decided.
* A message that a block holds back is not sent. An act of the person can end the block.
* Without consent nothing is sent, except a freeform reply inside the window that the person opened.
* Outside the window, WhatsApp permits only a usable template and Messenger only ACCOUNT_UPDATE.
* Nothing is sent at or after expiry, and no wait lasts longer.
* A `Send` is valid no longer than the window, the consent and the message on which it relies.
* Every decision lists each rule that was evaluated, in order, and contains no personal data.
* No combination of facts makes `decide` raise an error.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from policies.blocks import check_blocks
from policies.content import check_consent, choose_content
from policies.decision import Decision
from policies.evaluation import Evaluation
from policies.facts import Draft, Facts
from policies.guards import (
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

Rule = Callable[[Evaluation], Decision | None]

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
"""Every rule, in the order of evaluation.

The first rule that returns a decision decides. Later rules rely on what earlier ones established.
"""


def decide(draft: Draft, facts: Facts, policy: Policy, now: datetime) -> Decision:
    """Return the decision for `draft`: send it, let it wait, or refuse it.

    A `Send` says in which form the message goes and until when. `now` is an aware datetime, read
    from the store's clock for this attempt. Raises nothing.
    """
    case = Evaluation(draft, facts, policy, now)
    for rule in RULES:
        decision = rule(case)
        if decision is not None:
            return decision
    return case.refuse("deny_by_default", Reason.UNKNOWN_CHANNEL)
