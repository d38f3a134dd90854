"""`unknown`: attempts that may or may not have reached the person.

An operator may decide what became of one.
"""

import argparse
import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Final

from sendwindow.row_fields import OldRowField, RowField
from sendwindow.timestamps import from_ms
from worker.cli.exit_codes import CommandError, Exit
from worker.cli.journal_option import add_journal, open_journal
from worker.cli.output import Output, add_json, instant
from worker.cli.show import as_object

if TYPE_CHECKING:
    from sendwindow.vocabulary import Stage
    from worker.ports.records import Record
    from worker.settings.settings import Settings
    from worker.stores.store import Store
    from worker.telemetry.journal import Journal

_OPEN: Final = ("unknown", "unresolved")


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Describe the arguments."""
    del name
    words = parser.add_subparsers(dest="word", metavar="list|resolve", required=True)
    listed = words.add_parser(
        "list", help="list all of them; `unresolved` ones wait for an operator"
    )
    add_json(listed)
    listed.set_defaults(command_function=run)
    resolve = words.add_parser("resolve", help="record what became of one")
    resolve.add_argument("message_id", metavar="MESSAGE_ID")
    answer = resolve.add_mutually_exclusive_group(required=True)
    answer.add_argument("--sent", metavar="SID", help="Twilio has it under this MessageSid")
    answer.add_argument(
        "--not-sent", action="store_true", help="it was never sent: decide again and send"
    )
    add_journal(resolve)
    add_json(resolve)
    resolve.set_defaults(command_function=run)


def run(arguments: argparse.Namespace) -> int:
    """List or resolve. Returns FAILED when the message is no longer unknown."""
    from worker.twilio.messages import MESSAGE_SID
    from worker.wiring import read_settings

    if (
        arguments.word == "resolve"
        and arguments.sent is not None
        and not MESSAGE_SID.fullmatch(arguments.sent)
    ):
        raise CommandError(
            "That is not a MessageSid.",
            "It is SM or MM and 32 hex digits, as the Console shows it.",
            Exit.USAGE,
        )
    return asyncio.run(
        _run(
            read_settings(arguments.config, with_credentials=False),
            arguments,
            Output(arguments.json),
        )
    )


async def _run(settings: "Settings", arguments: argparse.Namespace, output: Output) -> int:
    from worker.wiring import open_store

    async with open_store(settings) as store:
        if arguments.word == "list":
            return await _list(store, output)
        with open_journal(arguments.journal) as journal:
            return await _resolve(store, arguments.message_id, arguments.sent, output, journal)


async def _list(store: "Store", output: Output) -> int:
    now = await store.now()
    records = [record for which in _OPEN async for record in store.records.listed(which)]
    if output.as_json:
        for record in records:
            output.object(as_object(record))
    elif records:
        columns = ("message_id", "stage", "since", "rule", "reason", "sender", "attempt")
        output.table(columns, [_line(record, now) for record in records])
    waiting = sum(record.row.get(RowField.STAGE) == "unresolved" for record in records)
    output.say(f"{len(records)} unknown, {waiting} of them wait for an operator")
    return Exit.DONE


def _line(record: "Record", now: datetime) -> dict[str, object]:
    row = record.row
    since = from_ms(int(row.get(OldRowField.INTENT_AT, "0")))
    return {
        "message_id": record.message_id,
        "stage": row.get(RowField.STAGE),
        "since": f"{instant(since)} ({int((now - since).total_seconds() // 60)} min)",
        "rule": row.get(RowField.ON_UNKNOWN),
        "reason": row.get(RowField.REASON),
        "sender": row.get(RowField.LANE, "").partition("|")[0],
        "attempt": row.get(RowField.ATTEMPT),
    }


async def _resolve(
    store: "Store", message_id: str, sid: str | None, output: Output, journal: "Journal"
) -> int:
    from sendwindow.vocabulary import Reason, Stage

    asked_at = journal.now()
    record = await store.records.record(message_id)
    if record is None:
        raise CommandError(
            "This message is not known.", "`unknown list` shows those that can be resolved."
        )
    if record.row.get(RowField.STAGE) not in _OPEN:
        raise CommandError(
            "This message is not unknown.", f"`show {message_id}` shows where it is."
        )
    attempt = int(record.row.get(RowField.ATTEMPT, "0"))
    stage = await (
        _as_not_sent(store, message_id, attempt)
        if sid is None
        else _as_sent(store, message_id, attempt, sid)
    )
    if stage is None:
        raise CommandError(
            "It has been resolved in the meantime, or the SID belongs to another message.",
            f"`show {message_id}` shows it.",
        )
    reason = Reason.CANCELLED if stage is Stage.CANCELLED else Reason.EVIDENCE_PERSON
    journal.write(
        "resolved", id=message_id, attempt=attempt, reason=reason, sid=sid, stage=stage, t=asked_at
    )
    meaning = {
        Stage.ACCEPTED: "is accepted",
        Stage.CANCELLED: "was not sent; it ends here, because its cancel was requested",
    }
    output.say(
        f"{message_id}: attempt {attempt} {meaning.get(stage, 'was not sent; it is decided again')}"
    )
    return Exit.DONE


async def _as_sent(store: "Store", message_id: str, attempt: int, sid: str) -> "Stage | None":
    from policies.status import describe
    from sendwindow.vocabulary import Reason, Stage
    from worker.ports.statuses import StatusUpdate

    [owner] = await store.unknowns.owners([sid])
    if owner not in (None, (message_id, attempt)):
        return None
    step = describe("accepted")
    update = StatusUpdate(
        message_sid=sid,
        status=step.status,
        rank=step.rank,
        is_final=False,
        is_failure=False,
        code=None,
        message_id=message_id,
        attempt=attempt,
        evidence=Reason.EVIDENCE_PERSON,
    )
    [applied] = await store.statuses.apply([update])
    return Stage.ACCEPTED if applied.resolved else None


async def _as_not_sent(store: "Store", message_id: str, attempt: int) -> "Stage | None":
    from sendwindow.vocabulary import Reason, Stage
    from worker.ports.settlements import SettleAgain
    from worker.ports.unknowns import Resolution

    again = SettleAgain(
        Stage.RETRYING, Reason.EVIDENCE_PERSON, sentence="A person says that it was not sent."
    )
    [stage] = await store.unknowns.resolve([Resolution(message_id, attempt, again)])
    return stage
