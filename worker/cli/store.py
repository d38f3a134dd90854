"""`store restored`: marks a store that was restored from a copy, so that nothing is sent twice."""

import argparse
import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from worker.cli.exit_codes import CommandError, Exit
from worker.cli.journal_option import add_journal, open_journal
from worker.cli.output import Output, add_json, counted, instant

if TYPE_CHECKING:
    from worker.ports.restored import Restoring
    from worker.settings.settings import Settings
    from worker.stores.store import Store
    from worker.telemetry.journal import Journal

MARGIN: Final = timedelta(minutes=1)
"""The copy is taken to be this much older than the last life sign in it, because clocks differ and
life signs come only every few seconds."""

_MAX_ADOPTED_JOBS: Final = 500


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Describe the arguments."""
    del name
    words = parser.add_subparsers(dest="word", metavar="restored", required=True)
    restored = words.add_parser(
        "restored",
        help=(
            "the store was restored from a copy: look up at Twilio what may have been sent "
            "since then"
        ),
    )
    restored.add_argument(
        "--since",
        metavar="INSTANT",
        help=(
            "when the copy was made, or an earlier time (default: the last sign of a "
            "living process in the copy)"
        ),
    )
    restored.add_argument(
        "--yes", action="store_true", help="do it; without --yes, only show what would be done"
    )
    add_journal(restored)
    add_json(restored)
    restored.set_defaults(command_function=run)


def run(arguments: argparse.Namespace) -> int:
    """Mark and sweep a restored store, or print what that would do."""
    from worker.cli.input_parsing import read_instant
    from worker.telemetry.logs import configure_logs
    from worker.wiring import read_settings

    since, settings = read_instant(arguments.since), read_settings(arguments.config)
    configure_logs(settings.log)
    with open_journal(arguments.journal) as journal:
        return asyncio.run(
            _run(settings, since, journal, Output(arguments.json), is_meant=arguments.yes)
        )


async def _run(
    settings: "Settings",
    since: datetime | None,
    journal: "Journal",
    output: Output,
    *,
    is_meant: bool,
) -> int:
    from worker.wiring import open_store, register

    async with open_store(settings) as store:
        found = await store.restored.read()
        copied_at = _copied_at(found, since)
        if copied_at > (now := await store.now()):
            raise CommandError(
                "--since is in the future.",
                "Give the time at which the copy was made.",
                Exit.USAGE,
            )
        if not is_meant:
            depths = await store.records.depths()
            output.table(
                ("list", "messages"),
                [{"list": name, "messages": many} for name, many in depths.items() if many],
            )
            _say(output, "nothing was done", copied_at, now)
            output.say(
                "Do not start workers yet. Repeat this with --yes, so that the open "
                "messages above are looked up at Twilio."
            )
            return Exit.DONE
        await register(store, settings)
        await _adopt_all(store)
        marked = await store.restored.begin(copied_at)
        if marked.copied_at is None:
            raise _alive(marked.living)
        return await _restore(settings, store, marked.copied_at, journal, output)


async def _restore(
    settings: "Settings", store: "Store", copied_at: datetime, journal: "Journal", output: Output
) -> int:
    from worker.pipeline.unknown.matching import listing_of

    await _fetch_inbound(settings, store, copied_at, journal)
    listings = {
        one.name: listing_of(settings.accounts[one.account].account_sid, one.address)
        for one in settings.senders.values()
    }
    moved = 0
    async for many in store.restored.sweep(listings):
        moved += many
    await store.restored.end()
    if output.as_json:
        output.object({"copied_at": copied_at, "looked_for": moved})
    output.say(
        f"{counted(moved, 'message')} of the copy {'is' if moved == 1 else 'are'} looked for at "
        "Twilio once workers run; `unknown list` shows them. Start the workers now."
    )
    return Exit.DONE


async def _adopt_all(store: "Store") -> None:
    """Adopt all of arq's jobs: a worker may have adopted them after the copy, and sent them."""
    while (await store.ledger.adopt(_MAX_ADOPTED_JOBS)).taken:
        continue


async def _fetch_inbound(
    settings: "Settings", store: "Store", since: datetime, journal: "Journal"
) -> None:
    """Apply what persons wrote since the copy, as a gateway would."""
    from worker.gateway.app import MISSED, make_app
    from worker.telemetry.logs import get_log
    from worker.telemetry.metrics import Metrics
    from worker.twilio.client import TwilioClient
    from worker.twilio.messages import ReadFailed
    from worker.wiring import load_rules

    app = make_app(
        settings, store, load_rules(settings), journal=journal, metrics=Metrics(), log=get_log()
    )
    async with TwilioClient(
        settings.accounts, read_timeout=settings.dispatch.read_timeout
    ) as twilio:
        for account in settings.accounts:
            try:
                await app[MISSED].fetch(account, since, await store.now(), twilio)
            except ReadFailed as failure:
                raise CommandError(
                    f"Twilio does not list what persons wrote to account {account} "
                    f"({failure.status or 'no answer'}); the store stays marked, so that workers "
                    "send nothing.",
                    "See `doctor --live`, then repeat the command.",
                ) from failure
            await store.listening.hear(account)


def _copied_at(found: "Restoring", since: datetime | None) -> datetime:
    """Return the time at which the copy was made. A run that was begun keeps its own time."""
    if found.copied_at is not None:
        return found.copied_at
    if found.living:
        raise _alive(found.living)
    if since is not None:
        return since
    if found.alive_at is None:
        raise CommandError(
            "The store has no sign of a living process, so the time of the copy is not known.",
            "Give --since.",
            Exit.USAGE,
        )
    return found.alive_at - MARGIN


def _alive(many: int) -> CommandError:
    return CommandError(
        f"{counted(many, 'process')} of the service {'is' if many == 1 else 'are'} alive at this "
        f"store, or {'was' if many == 1 else 'were'} within the last 30 seconds.",
        "Stop all workers and gateways, wait that long, and repeat the command.",
    )


def _say(output: Output, done: str, copied_at: datetime, now: datetime) -> None:
    if output.as_json:
        output.object({"copied_at": copied_at, "now": now, "done": False})
    output.say(
        f"{done}: the copy is assumed to be of {instant(copied_at)}; correct that with --since"
    )
