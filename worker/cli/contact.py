"""`contact`: what is known about a person, and what errors taught about them.

It prints a digest, and never repeats the address.
"""

import argparse
import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Final

from sendwindow.vocabulary import Purpose
from worker.cli.exit_codes import CommandError, Exit
from worker.cli.held_effects import HeldEffectsOrder, decide_held
from worker.cli.input_parsing import channel_of
from worker.cli.journal_option import add_journal, open_journal
from worker.cli.output import Output, add_json, instant

if TYPE_CHECKING:
    from policies.ruleset import Ruleset
    from worker.ports.stored_facts import StoredFacts
    from worker.settings.schema import SenderSettings
    from worker.settings.settings import Settings
    from worker.telemetry.journal import Journal

_WORDS: Final = ("show", "allow", "held")
USAGE: Final = (
    "%(prog)s [ADDRESS | allow ADDRESS | held [apply | discard] [--sender NAME] [--yes]] "
    "[--journal FILE] [--json]"
)


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Describe the arguments. No address can be mistaken for one of the words."""
    del name
    parser.usage = USAGE
    parser.add_argument(
        "words",
        metavar="ADDRESS",
        nargs="+",
        help=(
            "whatsapp:+…, whatsapp:<BSUID>, messenger:<PSID> or +…; allow: end the "
            "suppressions and blocks of the person; held: effects of a jump of errors, "
            "which wait for an operator to apply or discard them"
        ),
    )
    parser.add_argument("--sender", help="held: only effects of errors at this sender")
    parser.add_argument(
        "--yes",
        action="store_true",
        help="held apply, held discard: do it; without --yes, only show what would change",
    )
    add_journal(parser, "what `allow` and `held` change")
    add_json(parser)
    parser.set_defaults(command_function=run)


def run(arguments: argparse.Namespace) -> int:
    """Print what is known about a person, allow messages to them again, or decide held effects."""
    from worker.wiring import read_settings

    settings, output = (
        read_settings(arguments.config, with_credentials=False),
        Output(arguments.json),
    )
    match arguments.words:
        case ["held", *rest] if rest in ([], ["apply"], ["discard"]):
            wish = HeldEffectsOrder(
                rest[0] if rest else "list", arguments.sender, is_meant=arguments.yes
            )
            with open_journal(arguments.journal) as journal:
                return asyncio.run(decide_held(settings, wish, output, journal))
        case ["allow", address]:
            with open_journal(arguments.journal) as journal:
                return asyncio.run(_allow(settings, address, output, journal))
        case ["show", address] | [address] if address not in _WORDS:
            return asyncio.run(_contact(settings, address, output))
        case _:
            raise CommandError(
                "These words do not make a command.",
                "`contact --help` shows the valid forms.",
                Exit.USAGE,
            )


async def _allow(settings: "Settings", address: str, output: Output, journal: "Journal") -> int:
    from worker.wiring import open_store

    channel_of(address)
    async with open_store(settings, reading=False) as store:
        asked_at = journal.now()
        lifted = await store.people.allow(address)
        digest = store.people.digest(address)
        journal.write("allowed", person=digest, t=asked_at)
    if output.as_json:
        output.object({"person": digest, "lifted": lifted})
    output.say(
        f"person {digest} is allowed again; suppressions and blocks ended: {lifted}; "
        "opt-outs still apply"
    )
    return Exit.DONE


async def _contact(settings: "Settings", address: str, output: Output) -> int:
    from worker.wiring import load_rules, open_store

    channel, rules = channel_of(address), load_rules(settings)
    async with open_store(settings) as store:
        now = await store.now()
        ledger = await store.people.consents(address)
        known = [
            (sender, await store.people.facts(address, name, sender.account, None))
            for name, sender in settings.senders.items()
            if sender.channel is channel
        ]
        digest = store.people.digest(address)
    senders = [_at_sender(sender, facts, rules, now) for sender, facts in known]
    blocks = [block for sender, facts in known for block in _blocks(sender, facts, now)]
    if output.as_json:
        output.object(
            {
                "person": digest,
                "channel": channel.value,
                "senders": senders,
                "blocks": blocks,
                "consents": ledger,
            }
        )
        return Exit.DONE
    output.say(f"person {digest} on {channel.value}")
    columns = ("sender", "last_inbound", "window", *Purpose, "suppressed", "code", "suspected_stop")
    output.table(columns, senders, "At each sender")
    if blocks:
        output.table(
            ("sender", "held", "code", "since", "until"),
            blocks,
            "Held back after errors from the provider",
        )
    output.table(
        (
            "at",
            "granted",
            "account",
            "purpose",
            "sender",
            "source",
            "wording",
            "evidence",
            "expires_at",
        ),
        [{**line, "purpose": line.get("purpose") or "all"} for line in ledger],
        "Consent ledger",
    )
    return Exit.DONE


def _at_sender(
    sender: "SenderSettings", facts: "StoredFacts", rules: "Ruleset", now: datetime
) -> dict[str, object]:
    from policies.consent import permission
    from policies.window import session_window

    person = facts.person
    window = session_window(person, rules.policy, now)
    standing = {
        purpose.value: permission(person, purpose, sender.name, rules.policy, now).standing.value
        for purpose in Purpose
    }
    suppressed = (
        person.suppressed_until
        if person.suppressed_until and person.suppressed_until > now
        else None
    )
    return {
        "sender": sender.name,
        "last_inbound": person.last_inbound_at,
        "window": f"open until {instant(window.closes_at)}"
        if window.closes_at and window.is_open
        else "closed",
        **standing,
        "suppressed": suppressed,
        "code": person.suppressed_for.removeprefix("code ") if suppressed else None,
        "suspected_stop": person.suspected_at,
    }


def _blocks(
    sender: "SenderSettings", facts: "StoredFacts", now: datetime
) -> list[dict[str, object]]:
    return [
        {
            "sender": sender.name,
            "held": block.holds.value,
            "code": block.code,
            "since": block.at,
            "until": block.ends_at
            or ("the person writes" if block.until_inbound else "an operator allows it"),
        }
        for block in facts.person.blocks
        if block.sender in (None, sender.name) and (block.ends_at is None or now < block.ends_at)
    ]
