"""`retry`: sends messages again that were refused, failed or expired. Without `--yes` it only shows what would go."""

import argparse
import asyncio
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sendwindow.instants import to_ms
from sendwindow.vocabulary import Reason
from worker.commands.dead import hours
from worker.commands.exits import CommandError, Exit
from worker.commands.journals import add_journal, open_journal
from worker.commands.output import Output, counted, progress
from worker.commands.reading import read_instant

if TYPE_CHECKING:
    from worker.journal import Journal
    from worker.settings import Settings
    from worker.stores.store import Store
    from worker.values.records import Ended

STAGES: Final = ("refused", "failed", "expired")
"""The ends that may be retried. A dead letter is replayed, and a cancelled message never goes again."""

_BATCH: Final = 100
_PERHAPS: Final = "perhaps_sent"
_GOES: Final = frozenset({"may_go", "retried"})
_WHY: Final = {
    "not_ended": "was neither refused nor failed nor expired",
    "unknown_id": "is not known",
    "cancelled": "its producer cancelled it, so it is never sent again",
    "no_job": "has nothing readable to send: queue it under another id",
    "sent": "an attempt of it is proven to be with Twilio, so it is not sent again",
    _PERHAPS: "may have reached the person; --even-if-sent sends it all the same",
}


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Describe the arguments."""
    del name
    parser.add_argument("ids", metavar="MESSAGE_ID", nargs="*", help="which; without any, a filter or --all")
    parser.add_argument("--all", action="store_true", help="every such message that the filters let through")
    parser.add_argument("--stage", choices=STAGES, help="only those that ended like this")
    parser.add_argument("--reason", help="only those that ended for this reason")
    parser.add_argument("--sender", help="only those of this sender")
    parser.add_argument("--campaign", help="only those of this campaign")
    parser.add_argument("--since", help="only those that ended at or after this time (2026-11-21T10:00:00+00:00)")
    parser.add_argument("--until", help="only those that ended before this time")
    parser.add_argument(
        "--hours", type=hours, default=24.0, help="how long they stay sendable, up to 168 (default: %(default)g)"
    )
    parser.add_argument(
        "--even-if-sent",
        action="store_true",
        help="also those of which an unproven attempt may have reached the person: it may get them twice",
    )
    parser.add_argument("--yes", action="store_true", help="send them again; without it nothing is written")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, for programs")
    add_journal(parser)
    parser.set_defaults(command_function=run)


def run(arguments: argparse.Namespace) -> int:
    """Retry, or show what would be retried; answers FAILED when something named could not go."""
    from worker.wiring import read_settings

    settings, output = read_settings(arguments.config, with_credentials=False), Output(arguments.json)
    filters = ("stage", "reason", "sender", "campaign", "since", "until")
    if not (arguments.ids or arguments.all or any(getattr(arguments, name) for name in filters)):
        raise CommandError("Nothing says which messages are meant.", "Name ids, give a filter, or --all.", Exit.USAGE)
    if arguments.reason is not None and arguments.reason not in tuple(Reason):
        raise CommandError("There is no such reason.", "docs/reasons.md lists them all.", Exit.USAGE)
    return asyncio.run(_run(settings, arguments, output))


async def _run(settings: "Settings", arguments: argparse.Namespace, output: Output) -> int:
    from worker.wiring import open_store

    async with open_store(settings) as store:
        with open_journal(arguments.journal) as journal:
            ids = arguments.ids or [one.message_id for one in await _chosen(store, arguments)]
            return await _retry(store, arguments, ids, output, journal)


async def _chosen(store: "Store", arguments: argparse.Namespace) -> list["Ended"]:
    """Pick what the filters let through, the oldest end first."""
    since, until = read_instant(arguments.since), read_instant(arguments.until)
    stages = (arguments.stage,) if arguments.stage else STAGES
    found = []
    async for one in store.records.ended(stages):
        sender, _, rest = one.lane.partition("|")
        if all(
            (
                arguments.reason in (None, one.reason),
                arguments.sender in (None, sender),
                arguments.campaign in (None, rest.partition("|")[2]),
                since is None or one.ended_at >= since,
                until is None or one.ended_at < until,
            )
        ):
            found.append(one)
    return sorted(found, key=lambda one: (one.ended_at, one.message_id))


async def _retry(
    store: "Store", arguments: argparse.Namespace, ids: list[str], output: Output, journal: "Journal"
) -> int:
    answers: Counter[str] = Counter()
    with progress("retry", len(ids)) as advance:
        for start in range(0, len(ids), _BATCH):
            batch = ids[start : start + _BATCH]
            words = await _act(store, arguments, batch, journal)
            for message_id, word in zip(batch, words, strict=True):
                answers[word] += 1
                if output.as_json:
                    output.object({"message_id": message_id, "answer": word})
                elif arguments.ids and word not in _GOES:
                    output.say(f"{message_id}: {_WHY[word]}")
            advance(len(batch))
    _say(answers, output, is_dry=not arguments.yes)
    # A filter means no message in particular: what it lets through and may not go is counted.
    return Exit.DONE if not arguments.ids or set(answers) <= _GOES else Exit.FAILED


async def _act(store: "Store", arguments: argparse.Namespace, batch: list[str], journal: "Journal") -> list[str]:
    if not arguments.yes:
        return await store.records.may_retry(batch, even_if_sent=arguments.even_if_sent)
    asked_at = journal.now()
    expires_at = await store.now() + timedelta(hours=arguments.hours)
    words = await store.records.retry(batch, expires_at, even_if_sent=arguments.even_if_sent)
    for message_id, word in zip(batch, words, strict=True):
        if word == "retried":
            journal.write(word, id=message_id, t=asked_at, expires=to_ms(expires_at))
    return words


def _say(answers: Counter[str], output: Output, *, is_dry: bool) -> None:
    goes = sum(answers[word] for word in _GOES)
    if is_dry:
        output.say(f"{counted(goes, 'message')} would be decided afresh and sent again; --yes does it.")
    else:
        output.say(f"{counted(goes, 'message')} queued again.")
    for word, number in sorted(answers.items()):
        if word not in _GOES:
            output.say(f"{number} {word}: {_WHY[word]}")
