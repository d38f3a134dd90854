"""Flags what a careful sender would not have sent, whether or not the provider takes it.

It adds to the ruling of `rulings`.

Sources: twilio.com/docs/whatsapp/key-concepts (user ids),
twilio.com/docs/messaging/api/message-resource (validity), Meta's page on per-user marketing limits,
cnac.ca/npa_codes (area codes), read 2026-11-20.
"""

import re
from typing import Final

from sandbox.failure_effects import GRACE_MS
from sandbox.parameters import MAX_VALIDITY_SECONDS, PostedForm
from sandbox.rulings import Ruling, View
from sandbox.simulated_people import SimulatedPerson

_UNUSABLE_FOR_MS: Final = 30 * 24 * 3600 * 1000
_OUTSIDE_US: Final = re.compile(
    r"\+1("
    "204|226|236|249|250|257|263|289|306|343|354|365|367|368|382|403|416|418|428|431|"
    "437|438|450|468|474|506|514|519|548|579|581|584|587|604|613|639|647|672|683|705|"
    "709|742|753|778|780|782|807|819|825|867|873|879|902|905|942|242|246|264|268|284|"
    "345|441|473|649|658|664|721|758|767|784|809|829|849|868|869|876"
    ")"
)
"""Area codes of Canada, then of the Caribbean. US territories count as the United States."""


def flag_careless(
    form: PostedForm, ruling: Ruling, person: SimulatedPerson, view: View, *, is_second_tag: bool
) -> None:
    """Add the violations that can be seen from outside.

    `is_second_tag`: the Page's first tagged message is still on its way.
    """
    to, told_at = form.one("To") or "", person.unusable.get(form.one("To") or "")
    if told_at is not None and GRACE_MS < view.now_ms - told_at < _UNUSABLE_FOR_MS:
        ruling.violations.append("told_unusable")
    if (
        ruling.channel == "messenger"
        and ruling.sender is not None
        and ruling.sender not in person.wrote
    ):
        ruling.violations.append("never_wrote")
    if ruling.form == "tag" and is_second_tag:
        ruling.violations.append("second_unproven_tag")
    _template(form, to, ruling, view)
    _validity(form, ruling, person, view)


def _template(form: PostedForm, to: str, ruling: Ruling, view: View) -> None:
    template = view.templates.get(form.one("ContentSid") or "")
    if template is None or ruling.channel != "whatsapp":
        return
    number = to.partition(":")[2]
    # Every kind of authentication template has a button that needs a phone.
    if (template.needs_phone or template.category == "AUTHENTICATION") and not number.startswith(
        "+"
    ):
        ruling.violations.append("needs_phone")
    is_us = number.startswith("US.") or (number.startswith("+1") and not _OUTSIDE_US.match(number))
    if template.category == "MARKETING" and is_us:
        ruling.refuse(63049, "us_marketing")


def _validity(form: PostedForm, ruling: Ruling, person: SimulatedPerson, view: View) -> None:
    """Flag a message that may still wait in the provider's queue when the window closes.

    After that only a template may go out.
    """
    closes_ms = person.window_closes_ms(ruling.sender or "")
    if ruling.channel == "sms" or closes_ms is None or closes_ms <= view.now_ms:
        return
    if ruling.channel == "whatsapp" and ruling.form == "template":
        return
    validity_ms = int(form.one("ValidityPeriod") or MAX_VALIDITY_SECONDS) * 1000
    if view.now_ms + validity_ms > closes_ms + GRACE_MS:
        ruling.violations.append("validity_beyond_window")
