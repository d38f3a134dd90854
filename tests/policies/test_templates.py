"""Which template may go, and the first reason against one that may not."""

from dataclasses import replace
from typing import Any

import pytest

from policies.decision import TemplateContent
from policies.facts import Approval, Draft, TemplateFact, TemplateRef
from policies.templates import is_us_number, pick_template
from sendwindow.vocabulary import Category, Channel, Purpose, Reason
from tests.policies.given import POLICY, WISH, draft, template

AUTHENTICATION = template(Category.AUTHENTICATION, needs_phone=True)
MARKETING = template(Category.MARKETING)


def wishing(purpose: Purpose = Purpose.UTILITY, **changes: Any) -> Draft:
    return draft(purpose=purpose, **({"template": WISH} | changes))


@pytest.mark.parametrize(
    "message, fact, reason",
    [
        pytest.param(wishing(template=None), template(), Reason.NO_TEMPLATE, id="none-asked-for"),
        pytest.param(wishing(), None, Reason.UNKNOWN_TEMPLATE, id="not-configured"),
        pytest.param(
            wishing(),
            template(name="other"),
            Reason.UNKNOWN_TEMPLATE,
            id="fact-of-another-template",
        ),
        pytest.param(
            wishing(),
            template(channels=frozenset({Channel.SMS})),
            Reason.TEMPLATE_ON_CHANNEL,
            id="channel",
        ),
        pytest.param(
            wishing(), template(content_sid=None), Reason.TEMPLATE_LANGUAGE, id="language"
        ),
        pytest.param(
            wishing(),
            template(variables=frozenset({"1", "2"})),
            Reason.TEMPLATE_VARIABLES,
            id="missing",
        ),
        pytest.param(
            wishing(), template(variables=frozenset()), Reason.TEMPLATE_VARIABLES, id="surplus"
        ),
        pytest.param(wishing(), AUTHENTICATION, Reason.TEMPLATE_CATEGORY, id="category"),
        pytest.param(
            wishing(Purpose.AUTHENTICATION, to_is_phone=False),
            AUTHENTICATION,
            Reason.AUTHENTICATION_NEEDS_PHONE,
            id="user-id",
        ),
        pytest.param(
            wishing(Purpose.MARKETING, to="whatsapp:+14155550100"),
            MARKETING,
            Reason.US_MARKETING_PAUSED,
            id="us-number",
        ),
        pytest.param(
            wishing(Purpose.MARKETING, to="whatsapp:US.1a2b", to_is_phone=False),
            MARKETING,
            Reason.US_MARKETING_PAUSED,
            id="us-user-id",
        ),
    ],
)
def test_a_template_with_something_against_it_gives_the_reason(
    message: Draft, fact: TemplateFact | None, reason: Reason
) -> None:
    """Each rule of eligibility, broken alone, gives its own reason."""
    assert pick_template(message, fact, POLICY) is reason


@pytest.mark.parametrize(
    "approval, reason",
    [
        (Approval.APPROVED, None),
        (Approval.PENDING, Reason.TEMPLATE_NOT_APPROVED),
        (Approval.RECEIVED, Reason.TEMPLATE_NOT_APPROVED),
        (Approval.REJECTED, Reason.TEMPLATE_NOT_APPROVED),
        (Approval.UNSUBMITTED, Reason.TEMPLATE_NOT_APPROVED),
        (Approval.PAUSED, Reason.TEMPLATE_PAUSED),
        (Approval.DISABLED, Reason.TEMPLATE_DISABLED),
    ],
)
def test_only_an_approved_template_goes_on_whatsapp(
    approval: Approval, reason: Reason | None
) -> None:
    """Only an approved template goes on WhatsApp; other channels have no approval."""
    picked = pick_template(wishing(), template(approval=approval), POLICY)
    assert picked == (reason or TemplateContent("HX1", {"1": "x"}))
    sms = replace(wishing(), channel=Channel.SMS)
    anywhere = template(approval=approval, channels=frozenset(Channel))
    assert isinstance(pick_template(sms, anywhere, POLICY), TemplateContent)


@pytest.mark.parametrize("purpose", Purpose)
@pytest.mark.parametrize("category", Category)
def test_the_category_must_fit_the_purpose(purpose: Purpose, category: Category) -> None:
    """Reply, utility and account_update take UTILITY; authentication and marketing their own."""
    fitting = {
        Purpose.AUTHENTICATION: Category.AUTHENTICATION,
        Purpose.MARKETING: Category.MARKETING,
    }
    picked = pick_template(wishing(purpose), template(category), POLICY)
    if fitting.get(purpose, Category.UTILITY) is category:
        assert isinstance(picked, TemplateContent)
    else:
        assert picked is Reason.TEMPLATE_CATEGORY


def test_a_template_may_be_named_by_its_content_sid() -> None:
    """A ContentSid means the configured template that has it."""
    by_sid = wishing(template=TemplateRef("HX1", {"1": "x"}))
    assert isinstance(pick_template(by_sid, template(), POLICY), TemplateContent)


@pytest.mark.parametrize("to", ["whatsapp:CA.1a2b", "whatsapp:CA.ENT.1a2b"])
@pytest.mark.parametrize("needs_phone", [True, False])
@pytest.mark.parametrize("category", Category)
def test_no_authentication_template_goes_to_a_user_id(
    category: Category, needs_phone: bool, to: str
) -> None:
    """No authentication template goes to a user id: its category decides that.

    The setting can only keep further templates from user ids.
    """
    purpose = {
        Category.AUTHENTICATION: Purpose.AUTHENTICATION,
        Category.MARKETING: Purpose.MARKETING,
    }.get(category)
    message = wishing(purpose or Purpose.UTILITY, to=to, to_is_phone=False)
    picked = pick_template(message, template(category, needs_phone=needs_phone), POLICY)
    if needs_phone or category is Category.AUTHENTICATION:
        assert picked is Reason.AUTHENTICATION_NEEDS_PHONE
    else:
        assert isinstance(picked, TemplateContent)
        assert picked.category is category


@pytest.mark.parametrize(
    "to, is_us",
    [
        pytest.param("whatsapp:+14155550100", True, id="california"),
        pytest.param("+14155550100", True, id="sms-form"),
        pytest.param("whatsapp:+17875550100", True, id="puerto-rico"),
        pytest.param("whatsapp:+19995550100", True, id="area-code-nobody-knows"),
        pytest.param("whatsapp:+1", True, id="too-short"),
        pytest.param("whatsapp:+14165550100", False, id="toronto"),
        pytest.param("whatsapp:+18765550100", False, id="jamaica"),
        pytest.param("whatsapp:+447700900123", False, id="great-britain"),
        pytest.param("whatsapp:US.1a2b", True, id="us-user-id"),
        pytest.param("whatsapp:US.ENT.1a2b", True, id="us-parent-user-id"),
        pytest.param("whatsapp:CA.1a2b", False, id="canadian-user-id"),
        pytest.param("messenger:14155550100", False, id="page-scoped-id"),
    ],
)
def test_plus_one_is_the_us_unless_its_area_code_is_known_to_be_elsewhere(
    to: str, is_us: bool
) -> None:
    """Of +1 only Canada and the Caribbean are outside the pause; unknown area codes count as US."""
    assert is_us_number(to, POLICY) is is_us


def test_without_the_pause_marketing_templates_go_to_us_numbers() -> None:
    """The pause is dated data, so lifting it is a line in policy.toml."""
    message = wishing(Purpose.MARKETING, to="whatsapp:+14155550100")
    lifted = replace(POLICY, us_marketing_paused=False)
    assert isinstance(pick_template(message, MARKETING, lifted), TemplateContent)
