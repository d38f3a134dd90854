"""Renders the decision table and other tables as Markdown.

`decide` itself computes the outcome of each row, so the table shows what the rules really do.
"""

from dataclasses import replace
from typing import assert_never

from docgen.scenarios import CHANNELS, GUARDS
from policies.decision import Decision, Refuse, Send, TemplateContent, Wait
from policies.policy import AccountUpdate, Policy
from policies.reasons import GROUPS
from sendwindow.vocabulary import Reason


def decision_table(policy: Policy) -> str:
    """Return the decision table as Markdown.

    The outcomes come from `decide`, without the guards that an operator may configure.
    """
    plain = replace(
        policy, allow_recipients=None, person_cap=0, account_update=AccountUpdate.ATTEMPT
    )
    lines = [
        "| channel | consent | window | what the message carries | outcome | rule |",
        "|---|---|---|---|---|---|",
    ]
    for channel, scenarios in (("any", GUARDS), *CHANNELS):
        for row in scenarios:
            decision = row.decision(plain)
            rule = decision.trace.verdicts[-1].rule
            lines.append(
                f"| {channel} | {row.consent} | {row.window} | {row.carries} "
                f"| {_outcome(decision)} | `{rule}` |"
            )
    return "\n".join(lines) + "\n"


def dated_rules_table(policy: Policy) -> str:
    """Return the dated rows as Markdown, with source, date read and effective dates."""
    lines = ["| rule | says | source, read | from | until |", "|---|---|---|---|---|"]
    for row in policy.rows:
        dates = f"{row.effective_from or ''} | {row.effective_until or ''}"
        lines.append(f"| `{row.id}` | {row.summary} | {row.source}, {row.read_on} | {dates} |")
    return "\n".join(lines) + "\n"


def reason_table() -> str:
    """Return every reason code with its sentence as Markdown."""
    lines = ["| reason | says |", "|---|---|"]
    for title, group in GROUPS.items():
        lines.append(f"| **{title}** | |")
        lines.extend(f"| `{reason.value}` | {text} |" for reason, text in group.items())
    return "\n".join(lines) + "\n"


def _outcome(decision: Decision) -> str:
    match decision:
        case Refuse():
            return (
                f"{'expires' if decision.reason is Reason.EXPIRED else 'refuse'}, "
                f"`{decision.reason.value}`"
            )
        case Wait():
            until = "for the next inbound" if decision.on_inbound else "until then"
            if decision.reason is Reason.STOP_SUSPECTED:
                until = "until a person has looked"
            return f"wait {until}, `{decision.reason.value}`"
        case Send():
            return f"{_form(decision)}, `{decision.reason.value}`"
        case _:
            assert_never(decision)


def _form(send: Send) -> str:
    if isinstance(send.content, TemplateContent):
        return "template"
    return "freeform that Twilio tags ACCOUNT_UPDATE" if send.content.relies_on_tag else "freeform"
