"""Decides whether the template that a message asks for may be sent.

It must be configured, exist in the language, be approved, have the category of the purpose and get
a value for every variable.
"""

from typing import Final

from policies.decision import TemplateContent
from policies.facts import Approval, Draft, TemplateFact, TemplateRef
from policies.policy import Policy
from sendwindow.vocabulary import Category, Channel, Reason

_NOT_USABLE: Final = {
    Approval.PAUSED: Reason.TEMPLATE_PAUSED,
    Approval.DISABLED: Reason.TEMPLATE_DISABLED,
}


def pick_template(
    draft: Draft, fact: TemplateFact | None, policy: Policy
) -> TemplateContent | Reason:
    """Return the template's content, or the first reason against it.

    The variables must be exactly those that the template declares. Otherwise a missing variable
    would show its sample value, and Twilio would refuse an additional one.

    Source: Twilio, "Template approvals and statuses", "Using variables", errors 63028, 63040 to
    63042, read 2026-11-20.
    """
    wish = draft.template
    if wish is None:
        return Reason.NO_TEMPLATE
    if fact is None or wish.name not in (fact.name, fact.content_sid):
        return Reason.UNKNOWN_TEMPLATE
    if draft.channel not in fact.channels:
        return Reason.TEMPLATE_ON_CHANNEL
    if fact.content_sid is None:
        return Reason.TEMPLATE_LANGUAGE
    if fact.category is not policy.purposes[draft.purpose].category:
        return Reason.TEMPLATE_CATEGORY
    if fact.variables != wish.variables.keys():
        return Reason.TEMPLATE_VARIABLES
    if (
        draft.channel is Channel.WHATSAPP
        and (problem := _whatsapp_problem(draft, fact, policy)) is not None
    ):
        return problem
    return _content(fact, fact.content_sid, wish)


def is_us_number(to: str, policy: Policy) -> bool:
    """Return whether an address may belong to the United States.

    That is a +1 number whose area code is not known to lie outside the US, or a business-scoped
    user id of the US.
    """
    number = to.rpartition(":")[2]
    if number.startswith("US."):
        return True
    return number.startswith("+1") and number[2:5] not in policy.area_codes_outside_us


def _whatsapp_problem(draft: Draft, fact: TemplateFact, policy: Policy) -> Reason | None:
    if fact.approval is not Approval.APPROVED:
        return _NOT_USABLE.get(fact.approval, Reason.TEMPLATE_NOT_APPROVED)
    # Every authentication template has a button that works only with a phone number, so the
    # category alone decides. `needs_phone` can only add other templates. Source: Meta, "Direct
    # Send", updated 2026-07-31, read 2026-11-30.
    if (fact.needs_phone or fact.category is Category.AUTHENTICATION) and not draft.to_is_phone:
        return Reason.AUTHENTICATION_NEEDS_PHONE
    if (
        fact.category is Category.MARKETING
        and policy.us_marketing_paused
        and is_us_number(draft.to, policy)
    ):
        return Reason.US_MARKETING_PAUSED
    return None


def _content(fact: TemplateFact, content_sid: str, wish: TemplateRef) -> TemplateContent:
    return TemplateContent(content_sid, wish.variables, fact.category)
