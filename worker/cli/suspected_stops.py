"""`consent suspected`: texts from persons that may mean stop.

An operator decides. Until then marketing to these persons waits.
"""

import argparse
import asyncio
from typing import TYPE_CHECKING

from worker.cli.exit_codes import CommandError, Exit
from worker.cli.input_parsing import channel_of
from worker.cli.journal_option import add_journal, open_journal, write_consent
from worker.cli.output import Output, add_json, counted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from typing import Literal

    from worker.ports.people import SuspectedStop
    from worker.settings.settings import Settings
    from worker.stores.store import Store
    from worker.telemetry.journal import Journal


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments."""
    which = "an address, a person's digest, or the MessageSid of what they wrote"
    decision = parser.add_mutually_exclusive_group()
    decision.add_argument(
        "--confirm", metavar="WHO", help=f"it was a stop: withdraw marketing. WHO: {which}"
    )
    decision.add_argument(
        "--dismiss",
        metavar="WHO",
        help="it was not a stop: messages that wait for the decision go on",
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="with --confirm: withdraw every purpose, not only marketing",
    )
    add_journal(parser)
    add_json(parser)
    parser.set_defaults(command_function=run)


def run(arguments: argparse.Namespace) -> int:
    """List the suspected stops, or decide those of one person.

    Returns FAILED when that person has none.
    """
    from worker.wiring import read_settings

    who = arguments.confirm or arguments.dismiss
    if arguments.all and not arguments.confirm:
        raise CommandError(
            "--all says how much a confirmed stop withdraws.", "Use it with --confirm.", Exit.USAGE
        )
    settings, output = (
        read_settings(arguments.config, with_credentials=False),
        Output(arguments.json),
    )
    if not who:
        return asyncio.run(_list(settings, output))
    decision: Literal["marketing", "all", "dismiss"] = "all" if arguments.all else "marketing"
    if arguments.dismiss:
        decision = "dismiss"
    with open_journal(arguments.journal) as journal:
        return asyncio.run(_decide(settings, who, decision, output, journal))


async def _list(settings: "Settings", output: Output) -> int:
    from worker.wiring import open_store

    async with open_store(settings) as store:
        now = await store.now()
        stops = [stop async for stop in store.people.suspected()]
    rows = [_row(stop, now) for stop in stops]
    if rows:
        output.table(("person", "account", "sender", "since", "hours", "message_sid"), rows)
    output.say(
        f"{counted(len(rows), 'suspected stop')}; the Console shows each text under its MessageSid"
    )
    return Exit.DONE


def _row(stop: "SuspectedStop", now: "datetime") -> dict[str, object]:
    return {
        "person": stop.person_digest,
        "account": stop.account,
        "sender": stop.sender,
        "since": stop.since,
        "hours": int((now - stop.since).total_seconds() // 3600),
        "message_sid": stop.message_sid,
    }


async def _decide(
    settings: "Settings",
    who: str,
    decision: 'Literal["marketing", "all", "dismiss"]',
    output: Output,
    journal: "Journal",
) -> int:
    from worker.wiring import open_store

    async with open_store(settings) as store:
        names = _names(store, who)
        found = [
            one
            async for one in store.people.suspected()
            if names & {one.person_digest, one.message_sid}
        ]
        asked_at = journal.now()
        released = await store.people.decide_suspected(found, decision, sorted(settings.senders))
        decided = [
            (stop, many) for stop, many in zip(found, released, strict=True) if many is not None
        ]
    if not decided:
        raise CommandError(
            "This person has no suspected stop.", "`consent suspected` lists all suspected stops."
        )
    _write(journal, [stop for stop, _ in decided], decision, asked_at)
    word = {
        "marketing": "confirmed: marketing is withdrawn",
        "all": "confirmed: everything is withdrawn",
    }.get(decision, "dismissed: it was not a stop")
    for stop, many in decided:
        if output.as_json:
            output.object(
                {
                    "person": stop.person_digest,
                    "account": stop.account,
                    "decision": decision,
                    "released": many,
                }
            )
        output.say(f"{word}; {counted(many, 'message')} decided again")
    return Exit.DONE


def _names(store: "Store", who: str) -> set[str]:
    """Return the digests and SIDs that `who` may mean: itself, or the digest of an address."""
    if ":" not in who and not who.startswith("+"):
        return {who}
    channel_of(who)
    return {store.people.digest(who)}


def _write(
    journal: "Journal", stops: "Sequence[SuspectedStop]", decision: str, asked_at: float
) -> None:
    """Record for `verify` what was decided, and what that withdrew."""
    from worker.ports.people import ConsentEntry

    for stop in stops:
        journal.write(
            "suspected",
            person=stop.person_digest,
            account=stop.account,
            decision=decision,
            sid=stop.message_sid,
        )
        if decision != "dismiss":
            purpose = None if decision == "all" else "marketing"
            entry = ConsentEntry(
                False, stop.account, purpose, None, "suspected", evidence=stop.message_sid
            )
            write_consent(journal, entry, stop.person_digest, asked_at)
