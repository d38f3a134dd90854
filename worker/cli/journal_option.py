"""The option `--journal` of commands: records what an operator decides and what a producer queues.

`verify` compares it with what was sent.
"""

import argparse
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sendwindow.timestamps import to_ms
from worker.cli.exit_codes import CommandError, Exit
from worker.telemetry.journal import Journal, JournalError

if TYPE_CHECKING:
    from sendwindow.contract import SendMessage
    from sendwindow.results import Receipt
    from worker.ports.people import ConsentEntry
    from worker.settings.settings import Settings


def add_journal(parser: argparse.ArgumentParser, what: str = "what the operator decided") -> None:
    """Add the option `--journal` to a command that decides about messages or queues them."""
    parser.add_argument(
        "--journal", type=Path, metavar="FILE", help=f"write {what} to FILE, for `verify`"
    )


@contextmanager
def open_journal(path: Path | None) -> Iterator[Journal]:
    """Open the journal before anything is done.

    Raises CommandError when the journal cannot be opened, or when it can no longer be written.
    """
    try:
        journal = Journal(path, f"command-{os.getpid()}")
    except OSError as error:
        raise CommandError(
            f"The journal cannot be written ({error.strerror}).", "Check its path.", Exit.USAGE
        ) from error
    try:
        with closing(journal):
            yield journal
    except JournalError as error:
        raise CommandError(
            f"The journal can no longer be written ({error.strerror}). The last action was done, "
            "but the journal does not contain it.",
            "Free space on its disk; `show MESSAGE_ID` shows where a message is.",
        ) from error


def write_accepted(
    journal: Journal, message: "SendMessage", settings: "Settings", person: str, receipt: "Receipt"
) -> None:
    """Record that the queue took a message, with all that `verify` needs to check its POSTs.

    `person`: a digest.
    """
    sender = settings.senders.get(message.sender)
    begins = max(receipt.enqueued_at, message.not_before or receipt.enqueued_at)
    journal.write(
        "accepted",
        id=message.message_id,
        duplicate=receipt.duplicate,
        rule=message.unknown_rule,
        purpose=message.purpose,
        channel=message.address.channel,
        sender=message.sender,
        account=None if sender is None else sender.account,
        person=person,
        not_before=None if message.not_before is None else to_ms(message.not_before),
        expires=to_ms(message.ends_at(begins)),
    )


def write_consent(
    journal: Journal,
    entry: "ConsentEntry",
    person: str,
    asked_at: float,
    *,
    after_stop: bool = False,
) -> None:
    """Record what a person granted or withdrew, after the store has it.

    `person`: a digest. `asked_at`: the journal's time before the store had it. A grant counts from
    then, because a worker may have seen it before the journal line was written.
    """
    journal.write(
        "consent",
        person=person,
        account=entry.account,
        purpose=entry.purpose,
        sender=entry.sender,
        granted=entry.granted,
        at=None if entry.at is None else to_ms(entry.at),
        expires=None if entry.expires_at is None else to_ms(entry.expires_at),
        after_stop=after_stop,
        **({"t": asked_at} if entry.granted else {}),
    )
