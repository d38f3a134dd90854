"""`explain`: what would happen to messages now and why, by the rules and facts of a worker.

It writes nothing.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from policies.reasons import sentence
from sendwindow.row_fields import RowField
from worker.cli.exit_codes import CommandError, Exit
from worker.cli.input_parsing import open_lines
from worker.cli.output import Output, add_json, paragraph, shown
from worker.cli.send import MessageLines
from worker.cli.settings_drift import other_settings

if TYPE_CHECKING:
    from datetime import datetime

    from policies.decision import Decision
    from policies.ruleset import Ruleset
    from sendwindow.contract import SendMessage
    from worker.settings.settings import Settings
    from worker.stores.store import Store


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Describe the arguments."""
    del name
    parser.add_argument(
        "message",
        metavar="FILE",
        help="messages as JSON Lines, - for standard input, or one message as JSON: '{\"to\": …}'",
    )
    add_json(parser)
    parser.set_defaults(command_function=run)


def run(arguments: argparse.Namespace) -> int:
    """Explain each message. Returns FAILED when a line was bad."""
    from worker.wiring import read_settings

    settings, output = (
        read_settings(arguments.config, with_credentials=False),
        Output(arguments.json),
    )
    if arguments.message.lstrip().startswith("{"):
        return asyncio.run(_explain(settings, [os.fsencode(arguments.message)], output))
    with open_lines(arguments.message) as (lines, _):
        return asyncio.run(_explain(settings, lines, output))


async def _explain(settings: "Settings", text: Iterable[bytes], output: Output) -> int:
    from sendwindow.errors import IdConflict, InvalidMessage
    from worker.wiring import load_rules, open_store

    rules = load_rules(settings)
    lines = MessageLines(text)
    async with open_store(settings) as store:
        if (other := await other_settings(settings, store)) is not None:
            sys.stderr.write(f"note: {other}; this explanation uses the file\n")
        for position, message in enumerate(lines.messages()):
            try:
                await _check(message, store)
            except (InvalidMessage, IdConflict) as error:
                lines.refuse(position, error)
                continue
            _print(message.message_id, await decide_now(message, store, settings, rules), output)
    output.bad_lines(sorted(lines.bad))
    if not lines.read_bytes:
        raise CommandError(
            "There is no message to explain.", "Give a file, - or one message as JSON.", Exit.USAGE
        )
    return Exit.FAILED if lines.bad else Exit.DONE


async def _check(message: "SendMessage", store: "Store") -> None:
    """Raise the errors that the queue would: times too far ahead, or the id of another message."""
    from sendwindow.codec import content_digest
    from sendwindow.errors import IdConflict
    from sendwindow.protocol import prepare

    prepare(message)
    record, digest = await store.records.record(message.message_id), content_digest(message)
    if record is not None and record.row.get(RowField.CONTENT_DIGEST, digest) != digest:
        raise IdConflict(message.message_id)


def _print(message_id: str, decision: "Decision", output: Output) -> None:
    thing = as_object(message_id, decision)
    if output.as_json:
        output.object(thing)
        return
    words = [
        f"{message_id}: {thing['decision']} {thing['form']}".rstrip() + f" ({decision.reason})",
        paragraph(sentence(decision.reason), "  "),
    ]
    words += [
        f"  {name}: {shown(thing[name])}"
        for name in ("until", "valid_until", "policy")
        if thing.get(name)
    ]
    output.say("\n".join(words))
    output.table(
        ("rule", "verdict", "detail"), [vars_of(verdict) for verdict in decision.trace.verdicts]
    )


def vars_of(verdict: object) -> dict[str, object]:
    """Return the parts of a verdict for a table."""
    return {name: getattr(verdict, name) for name in ("rule", "verdict", "detail")}


def as_object(message_id: str, decision: "Decision") -> dict[str, object]:
    """Return a decision as a JSON object. It holds no text, variable or address."""
    from policies.decision import Send, Wait

    thing: dict[str, object] = {
        "message_id": message_id,
        "decision": type(decision).__name__.lower(),
        "reason": decision.reason.value,
        "form": form_of(decision),
    }
    if isinstance(decision, Send):
        thing["valid_until"] = decision.valid_until
        thing["validity_period_seconds"] = int(decision.validity_period.total_seconds())
    if isinstance(decision, Wait):
        thing |= {"until": decision.until, "on_inbound": decision.on_inbound}
    thing["policy"] = decision.trace.policy_version
    thing["trace"] = [vars_of(verdict) for verdict in decision.trace.verdicts]
    return thing


def form_of(decision: "Decision") -> str:
    """Return the form: freeform, template or tag, or an empty string when nothing is sent."""
    from policies.decision import FreeformContent, Send

    if not isinstance(decision, Send):
        return ""
    if isinstance(decision.content, FreeformContent):
        return "tag" if decision.content.relies_on_tag else "freeform"
    return "template"


async def decide_now(
    message: "SendMessage",
    store: "Store",
    settings: "Settings",
    rules: "Ruleset",
    expires_at: "datetime | None" = None,
) -> "Decision":
    """Decide as a worker would now, with the same facts and rules. Writes nothing.

    `expires_at`: the end of a life that an operator would begin. It replaces the message's own.
    """
    from policies.decide import decide
    from worker.pipeline.decision_inputs import content_sid_of, join_facts, read_draft

    now = await store.now()
    start = max(now, message.not_before) if message.not_before else now
    template = message.template
    content_sid = content_sid_of(template.name, template.language, settings) if template else None
    sender = settings.senders.get(message.sender)
    account = sender.account if sender else ""
    stored = await store.people.facts(
        message.to, message.sender, account, content_sid, message.message_id
    )
    draft = read_draft(message, expires_at or message.ends_at(start))
    return decide(draft, join_facts(message, stored, settings), rules.policy, now)
