"""`retry`: sends messages again that were refused, failed or expired.

It writes nothing without `--yes`.
"""

import argparse
import asyncio
import sys
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Final

from worker.cli.dead import hours, lasting
from worker.cli.end_filter import NAMES, EndFilter, add_end_filter
from worker.cli.exit_codes import Exit
from worker.cli.input_parsing import check_choice
from worker.cli.journal_option import add_journal, open_journal
from worker.cli.life_orders import RETRY, Outlook, outlook, prospects, send_again
from worker.cli.output import Output, counted, progress
from worker.cli.settings_drift import other_settings

if TYPE_CHECKING:
    from policies.ruleset import Ruleset
    from worker.ports.records import Ended
    from worker.settings.settings import Settings
    from worker.stores.store import Store
    from worker.telemetry.journal import Journal

_MAX_BATCH_MESSAGES: Final = 32
"""How many messages go into one call of the store."""

_MAX_SHOWN_IDS: Final = 10
"""How many ids a dry run shows to a person. `--json` prints all."""

_PERHAPS: Final = "perhaps_sent"
_GOES: Final = frozenset({"may_go", "retried"})
_WHY: Final = {
    "not_ended": "is neither refused nor failed nor expired now",
    "unknown_id": "is not known",
    "cancelled": "its producer cancelled it, so it is never sent again",
    "no_job": "cannot be read, so there is nothing to send: queue the message under another id",
    "sent": "an attempt of it is proven to be with Twilio, so it is not sent again",
    _PERHAPS: "may have reached the person; --even-if-sent sends it anyway",
}


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Describe the arguments."""
    del name
    parser.add_argument(
        "ids",
        metavar="MESSAGE_ID",
        nargs="*",
        help="ids of messages; without ids, give a filter or --all",
    )
    parser.add_argument(
        "--all", action="store_true", help="every such message that the filters select"
    )
    parser.add_argument("--stage", choices=RETRY.stages, help="only those that ended like this")
    parser.add_argument(
        "--code", type=int, help="only those that ended with this Twilio error code"
    )
    add_end_filter(parser, "ended")
    parser.add_argument(
        "--hours",
        type=hours,
        help="how long they stay sendable, at most 168 (default: the lifetime of their purpose)",
    )
    parser.add_argument(
        "--even-if-sent",
        action="store_true",
        help=(
            "include messages that may already have reached the person, who may then get them twice"
        ),
    )
    parser.add_argument(
        "--yes", action="store_true", help="send them again; without --yes nothing is written"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line, for programs")
    add_journal(parser)
    parser.set_defaults(command_function=run)


def run(arguments: argparse.Namespace) -> int:
    """Retry, or show what would be retried.

    Returns FAILED when a message that was named cannot go.
    """
    from worker.wiring import read_settings

    settings, output = (
        read_settings(arguments.config, with_credentials=False),
        Output(arguments.json),
    )
    check_choice(arguments, ("stage", "code", *NAMES), "messages")
    arguments.end_filter = EndFilter.of(arguments)
    return asyncio.run(_run(settings, arguments, output))


async def _run(settings: "Settings", arguments: argparse.Namespace, output: Output) -> int:
    from worker.wiring import load_rules, open_store

    rules = load_rules(settings)
    async with open_store(settings) as store:
        with open_journal(arguments.journal) as journal:
            # An id that is given twice is still one message.
            ids = list(dict.fromkeys(arguments.ids)) or [
                one.message_id for one in await _chosen(store, arguments)
            ]
            if arguments.yes:
                answers = await _retry(store, arguments, ids, output, journal)
            else:
                if (other := await other_settings(settings, store)) is not None:
                    sys.stderr.write(f"note: {other}; this dry run uses the file\n")
                answers = await _preview(store, arguments, ids, output, (settings, rules))
    for word, number in sorted(answers.items()):
        if word not in _GOES:
            output.say(f"{number} {word}: {_WHY[word]}")
    # A filter names no particular message, so messages that may not go are only counted.
    return Exit.DONE if not arguments.ids or set(answers) <= _GOES else Exit.FAILED


async def _chosen(store: "Store", arguments: argparse.Namespace) -> list["Ended"]:
    """Return the messages that match the filters, the oldest end first."""
    stages = (arguments.stage,) if arguments.stage else RETRY.stages
    ended, code = arguments.end_filter, arguments.code
    found = [
        one
        async for one in store.records.ended(stages)
        if code in (None, one.code) and ended.lets_through(one.reason, one.lane, one.ended_at)
    ]
    return sorted(found, key=lambda one: (one.ended_at, one.message_id))


async def _retry(
    store: "Store",
    arguments: argparse.Namespace,
    ids: list[str],
    output: Output,
    journal: "Journal",
) -> Counter[str]:
    answers: Counter[str] = Counter()
    order = partial(store.records.retry, even_if_sent=arguments.even_if_sent)
    with progress("retry", len(ids)) as advance:
        for start in range(0, len(ids), _MAX_BATCH_MESSAGES):
            batch = ids[start : start + _MAX_BATCH_MESSAGES]
            words = await send_again(
                await prospects(store, batch, lasting(arguments)), RETRY, order, journal
            )
            for message_id, word in zip(batch, words, strict=True):
                answers[word] += 1
                if output.as_json:
                    output.object({"message_id": message_id, "answer": word})
                else:
                    _complain(message_id, word, arguments, output)
            advance(len(batch))
    output.say(f"{counted(answers['retried'], 'message')} queued again.")
    return answers


async def _preview(
    store: "Store",
    arguments: argparse.Namespace,
    ids: list[str],
    output: Output,
    how: "tuple[Settings, Ruleset]",
) -> Counter[str]:
    """Print how many messages of which end would be sent again, and what would be decided now.

    Writes nothing.
    """
    answers: Counter[str] = Counter()
    kinds: Counter[tuple[str | None, ...]] = Counter()
    first: list[str] = []
    with progress("retry", len(ids)) as advance:
        for start in range(0, len(ids), _MAX_BATCH_MESSAGES):
            batch = await _look(store, arguments, ids[start : start + _MAX_BATCH_MESSAGES], how)
            for one in batch:
                message_id = one.prospect.message_id
                answers[one.word] += 1
                if one.word in _GOES:
                    kinds[one.prospect.stage, one.prospect.reason, one.decision, one.reason] += 1
                    first += [message_id] if len(first) < _MAX_SHOWN_IDS else []
                if output.as_json:
                    output.object(_as_object(one))
                else:
                    _complain(message_id, one.word, arguments, output)
            advance(len(batch))
    goes = kinds.total()
    if goes and not output.as_json:
        lines = sorted(kinds.items(), key=lambda item: (-item[1], str(item[0])))
        output.table(
            _COLUMNS, [dict(zip(_COLUMNS, (number, *kind), strict=True)) for kind, number in lines]
        )
        output.say(
            ", ".join(first)
            + (f" and {goes - _MAX_SHOWN_IDS} more" if goes > _MAX_SHOWN_IDS else "")
        )
    output.say(
        f"{counted(goes, 'message')} would be decided and sent again. Repeat with --yes to send."
    )
    return answers


async def _look(
    store: "Store", arguments: argparse.Namespace, batch: list[str], how: "tuple[Settings, Ruleset]"
) -> list[Outlook]:
    found = await prospects(store, batch, lasting(arguments))
    words = await store.records.may_retry(batch, even_if_sent=arguments.even_if_sent)
    told = [
        "no_job" if one.lacks_job(RETRY) else word for one, word in zip(found, words, strict=True)
    ]
    return [await outlook(one, word, store, *how) for one, word in zip(found, told, strict=True)]


def _complain(message_id: str, word: str, arguments: argparse.Namespace, output: Output) -> None:
    """Print why a message does not go, if the operator named it."""
    if arguments.ids and word not in _GOES:
        output.say(f"{message_id}: {_WHY[word]}")


_COLUMNS: Final = ("messages", "stage", "reason", "decision_now", "reason_now")


def _as_object(one: Outlook) -> dict[str, object]:
    """Return what a dry run shows of a message, as a JSON object.

    It holds no text, variable or address.
    """
    ended = one.prospect
    return {
        "message_id": ended.message_id,
        "answer": one.word,
        "stage": ended.stage,
        "reason": ended.reason,
        "error_code": int(ended.code) if ended.code and ended.code.isdecimal() else None,
        "decision": one.decision,
        "decision_reason": one.reason,
        "expires_at": ended.expires_at.isoformat() if one.decision else None,
    }
