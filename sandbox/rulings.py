"""How the providers judge a well-formed POST: senders, opt-outs, session windows, templates.

Sources: twilio.com/docs/whatsapp/key-concepts, twilio.com/docs/api/errors,
twilio.com/docs/content/using-variables-with-content-api, read 2026-11-20.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from sandbox.address_rules import channel_of
from sandbox.config import Channel, SandboxAccount, SandboxSettings, SandboxTemplate
from sandbox.parameters import PostedForm
from sandbox.simulated_people import SimulatedPerson

TAG: Final = "ACCOUNT_UPDATE"
MAX_RENDERED_CHARACTERS: Final = 1024
_NOT_APPROVED: Final = {"rejected": 63040, "paused": 63041, "disabled": 63042}
_PLACEHOLDER: Final = re.compile(r"\{\{(\w{1,16})\}\}")
_NO_PICTURE: Final = re.compile(
    r"\.(mp4|mov|3gp|avi|webm|mp3|ogg|opus|amr|aac|m4a|wav|pdf|docx?|xlsx?|pptx?|txt|csv|vcf)$",
    re.IGNORECASE,
)
_FORBIDDEN_RUN: Final = re.compile(r"[\n\r\t]| {5,}")


@dataclass(slots=True)
class Ruling:
    """What becomes of a POST.

    `code`: why the provider refuses it, in the answer or by callback. `violations`: rules that a
    careful sender would not have broken. `form`: freeform, template or tag. `sender`: the sender
    that it goes out from.
    """

    form: str
    channel: Channel
    sender: str | None
    code: int | None = None
    text: str = ""
    violations: list[str] = field(default_factory=list)

    def refuse(self, code: int, violation: str | None = None) -> None:
        """Refuse the POST. The first code given counts; violations add up."""
        if self.code is None:
            self.code = code
        if violation is not None:
            self.violations.append(violation)


@dataclass(frozen=True, slots=True)
class View:
    """What the rules look at.

    `changed`: templates whose approval changed while the sandbox ran. `told_dead`: Pages whose
    sender was told that the tag no longer works.
    """

    account: SandboxAccount
    templates: Mapping[str, SandboxTemplate]
    settings: SandboxSettings
    changed: frozenset[str]
    told_dead: frozenset[str]
    now_ms: int


def judge(form: PostedForm, person: SimulatedPerson, view: View) -> Ruling:
    """Apply all rules to a well-formed POST to this person."""
    to = form.one("To") or ""
    template = form.one("ContentSid")
    ruling = Ruling(
        "freeform" if template is None else "template", channel_of(to), form.one("From")
    )
    ruling.text = form.one("Body") or ""
    _sender(form, ruling, view)
    if view.account.verified is not None and to not in view.account.verified:
        ruling.refuse(21608)
    _opt_out(form, ruling, person, view)
    if template is not None:
        _template(form, template, ruling, view)
    _window(template, ruling, person, view)
    if ruling.channel == "whatsapp":
        _media(form, ruling)
    return ruling


def _media(form: PostedForm, ruling: Ruling) -> None:
    """Check media on WhatsApp, which takes one file and shows text only with a picture.

    With any other file Twilio sends the file alone.
    """
    urls = form.all("MediaUrl")
    if len(urls) > 1:
        ruling.violations.append("extra_media")
    if ruling.text and any(_NO_PICTURE.search(urlsplit(url).path) for url in urls):
        ruling.violations.append("body_lost_with_media")
        ruling.text = ""


def _sender(form: PostedForm, ruling: Ruling, view: View) -> None:
    service, sender = form.one("MessagingServiceSid"), form.one("From")
    pools = view.account.services
    if service is not None and pools:
        pool = pools.get(service)
        if pool is None:
            return ruling.refuse(21701)
        fitting = [each for each in pool if channel_of(each) == ruling.channel]
        if sender is None:
            ruling.sender = fitting[0] if fitting else None
            return None if fitting else ruling.refuse(21703)
        if sender not in pool:
            return ruling.refuse(21712)
    if sender is None:
        return None
    if view.account.senders and sender not in view.account.senders:
        return ruling.refuse(21606 if channel_of(sender) == "sms" else 63007)
    return ruling.refuse(63008) if channel_of(sender) != ruling.channel else None


def _opt_out(form: PostedForm, ruling: Ruling, person: SimulatedPerson, view: View) -> None:
    if (view.account.sid, ruling.channel) in person.stopped:
        ruling.violations.append("opted_out")
    blocked = {ruling.sender, form.one("MessagingServiceSid")} & person.blocked
    if blocked and ruling.channel in view.settings.blocks_opted_out:
        ruling.refuse(21610)


def _template(form: PostedForm, sid: str, ruling: Ruling, view: View) -> None:
    template = view.templates.get(sid)
    if template is None or template.account not in {None, view.account.sid}:
        return ruling.refuse(21655, "unknown_template")
    variables = _variables(form.one("ContentVariables"))
    if variables is None or any(not value for value in variables.values()):
        return ruling.refuse(21656, "bad_variables")
    if any(_FORBIDDEN_RUN.search(value) for value in variables.values()):
        ruling.refuse(63013, "bad_variables")
    if set(variables) - template.variables:
        ruling.violations.append("undeclared_variables")
    if template.variables - set(variables):
        # Twilio fills the gap with the template's sample value, so the person reads the name of a
        # stranger.
        ruling.violations.append("missing_variables")
    ruling.text = _rendered(template, variables)
    if ruling.channel == "whatsapp":
        if form.all("MediaUrl"):
            ruling.refuse(63030, "media_with_template")
        if len(ruling.text) > MAX_RENDERED_CHARACTERS:
            ruling.refuse(63021, "template_too_long")
    return None


def _window(template_sid: str | None, ruling: Ruling, person: SimulatedPerson, view: View) -> None:
    if ruling.channel == "sms" or ruling.sender is None:
        return
    is_open = person.window_is_open(ruling.sender, view.now_ms)
    if ruling.channel == "messenger":
        if not is_open:
            _tag(ruling, view)
    elif template_sid is None:
        if not is_open:
            ruling.refuse(63016, "outside_window")
    elif template := view.templates.get(template_sid):
        code = (
            None if template.approved == "approved" else _NOT_APPROVED.get(template.approved, 63016)
        )
        if code is not None and not (code == 63016 and is_open):
            # If Meta withdrew the approval while we ran, the sender could not know, so it is no
            # violation.
            ruling.refuse(code, None if template_sid in view.changed else "template_not_approved")


def _tag(ruling: Ruling, view: View) -> None:
    """Send as a tag: Twilio tags a Messenger message outside the window by itself.

    Meta announced the end of the tag for 2026-04-27.
    """
    ruling.form = "tag"
    if view.settings.account_update == "dead":
        known = ruling.sender is not None and ruling.sender in view.told_dead
        ruling.refuse(view.settings.account_update_code, "tag_known_dead" if known else None)


def _variables(text: str | None) -> dict[str, str] | None:
    if text is None:
        return {}
    try:
        parsed = json.loads(text)
    except ValueError:
        return None
    if not isinstance(parsed, dict) or any(not isinstance(value, str) for value in parsed.values()):
        return None
    return parsed


def _rendered(template: SandboxTemplate, variables: Mapping[str, str]) -> str:
    if not template.body:
        return ": ".join(
            [
                template.name,
                *([", ".join(variables[key] for key in sorted(variables))] if variables else []),
            ]
        )
    return _PLACEHOLDER.sub(
        lambda found: variables.get(found[1], f"sample of {found[1]}"), template.body
    )
