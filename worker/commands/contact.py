"""`contact`: what is known about a person. Prints a digest, never the address back."""

import argparse
import asyncio
from datetime import datetime
from typing import TYPE_CHECKING

from sendwindow.vocabulary import Purpose
from worker.commands.exits import Exit
from worker.commands.output import Output, add_json
from worker.commands.reading import channel_of

if TYPE_CHECKING:
    from policies.rules import Rules
    from worker.settings import Sender, Settings
    from worker.values.facts import StoredFacts


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Describe the arguments."""
    del name
    parser.add_argument("address", metavar="ADDRESS", help="whatsapp:+…, whatsapp:<BSUID>, messenger:<PSID> or +…")
    add_json(parser)
    parser.set_defaults(command_function=run)


def run(arguments: argparse.Namespace) -> int:
    """Print windows, standing and ledger of a person."""
    from worker.wiring import read_settings

    return asyncio.run(
        _contact(read_settings(arguments.config, with_credentials=False), arguments.address, Output(arguments.json))
    )


async def _contact(settings: "Settings", address: str, output: Output) -> int:
    from worker.wiring import load_rules, open_store

    channel, rules = channel_of(address), load_rules(settings)
    async with open_store(settings) as store:
        now = await store.now()
        ledger = await store.people.consents(address)
        senders = [
            _at_sender(sender, await store.people.facts(address, name, sender.account, None), rules, now)
            for name, sender in settings.senders.items()
            if sender.channel is channel
        ]
        digest = store.people.digest(address)
    lines = [{key: _plain(value) for key, value in line.items()} for line in ledger]
    if output.as_json:
        output.object({"person": digest, "channel": channel.value, "senders": senders, "consents": lines})
        return Exit.DONE
    output.say(f"person {digest} on {channel.value}")
    output.table(
        ("sender", "last_inbound", "window", *Purpose, "suppressed", "suspected_stop"), senders, "At each sender"
    )
    output.table(
        ("at", "granted", "account", "purpose", "sender", "source", "wording", "evidence", "expires_at"),
        [
            line | {"granted": "yes" if line["granted"] else "no", "purpose": line.get("purpose") or "all"}
            for line in lines
        ],
        "Consent ledger",
    )
    return Exit.DONE


def _at_sender(sender: "Sender", facts: "StoredFacts", rules: "Rules", now: datetime) -> dict[str, object]:
    from policies.consent import permission
    from policies.window import session_window

    person = facts.person
    window = session_window(person, rules.policy, now)
    standing = {
        purpose.value: permission(person, purpose, sender.name, rules.policy, now).standing.value for purpose in Purpose
    }
    suppressed = person.suppressed_until if person.suppressed_until and person.suppressed_until > now else None
    return {
        "sender": sender.name,
        "last_inbound": _plain(person.last_inbound_at),
        "window": f"open until {_plain(window.closes_at)}" if window.is_open else "closed",
        **standing,
        "suppressed": _plain(suppressed),
        "suspected_stop": _plain(person.suspected_at),
    }


def _plain(value: object) -> object:
    return value.isoformat(timespec="seconds") if isinstance(value, datetime) else value
