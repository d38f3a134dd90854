"""`verify`: proves or refutes the promises from the journals of sandbox, workers and gateway."""

import argparse
import asyncio
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sendwindow.row_fields import RowField
from worker.cli.exit_codes import CommandError, Exit
from worker.cli.output import Output, add_json, console

if TYPE_CHECKING:
    from verify.history import StoredOutcome
    from verify.judge import Found
    from verify.report import Report
    from worker.ports.records import Record
    from worker.settings.settings import Settings

_MAX_BATCH_MESSAGES: Final = 50
"""How many messages the store is asked about at the same time."""


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Describe the arguments."""
    from verify.fate import OPEN

    del name
    parser.add_argument(
        "--journal",
        action="append",
        required=True,
        type=Path,
        metavar="FILE",
        help="a journal or a folder of journals; may be given more than once",
    )
    parser.add_argument(
        "--running",
        action="store_true",
        help="the run has not ended: open messages do not count as a breach",
    )
    parser.add_argument(
        "--open",
        action="append",
        default=[],
        choices=sorted(OPEN),
        metavar="STAGE",
        help="a stage in which messages may be left: %(choices)s; may be given more than once",
    )
    parser.add_argument(
        "--suspended",
        action="store_true",
        help="processes were stopped while they worked (SIGSTOP)",
    )
    parser.add_argument(
        "--store",
        action="store_true",
        help=(
            "also ask the store that the settings name; it knows ends that no journal "
            "contains, such as a producer's cancel"
        ),
    )
    add_json(parser)
    parser.set_defaults(command_function=run)


def run(arguments: argparse.Namespace) -> int:
    """Judge the journals.

    Returns FAILED when a promise is refuted, or when nothing could be checked.
    """
    from verify.judge import verify
    from verify.judge_context import Options
    from verify.report import render, to_json

    options = Options(
        final=not arguments.running,
        open_allowed=frozenset(arguments.open),
        suspended=arguments.suspended,
    )
    found = _asking_store(arguments.config) if arguments.store else None
    try:
        report = verify(journals(arguments.journal), options, found=found)
    except (ConnectionError, TimeoutError):
        raise  # these come from the store
    except OSError as error:
        raise CommandError(
            f"A journal cannot be read ({error.strerror}).", "Check the paths.", Exit.USAGE
        ) from error
    output = Output(arguments.json)
    if output.as_json:
        output.object(to_json(report))
    else:
        render(report, console())
    return verdict(report)


def verdict(report: "Report") -> Exit:
    """Return DONE only for a report that checked something and refuted nothing."""
    return Exit.DONE if report.ok else Exit.FAILED


def _asking_store(config: str | None) -> "Found":
    from worker.wiring import read_settings

    settings = read_settings(config, with_credentials=False)
    return lambda ids: asyncio.run(_standings(settings, ids))


async def _standings(settings: "Settings", ids: Collection[str]) -> "dict[str, StoredOutcome]":
    """Return where the store has each message. Messages that it does not know are left out."""
    from worker.wiring import open_store

    asked = list(ids)
    standings: dict[str, StoredOutcome] = {}
    async with open_store(settings) as store:
        for start in range(0, len(asked), _MAX_BATCH_MESSAGES):
            some = asked[start : start + _MAX_BATCH_MESSAGES]
            records = await asyncio.gather(
                *(store.records.record(message_id) for message_id in some)
            )
            standings |= {
                record.message_id: _standing(record) for record in records if record is not None
            }
    return standings


def _standing(record: "Record") -> "StoredOutcome":
    """Return where a message is.

    If it should be in a lane but is not due at any time, no worker will claim it.
    """
    from verify.history import StoredOutcome
    from worker.ports.records import IN_A_LANE

    stage = record.row[RowField.STAGE]
    return StoredOutcome(stage, record.due_at is not None or stage not in IN_A_LANE)


def journals(named: Sequence[Path]) -> Iterable[Path]:
    """Return the files that were named. A folder means its `*.jsonl`.

    Raises CommandError for a folder without any.
    """
    files: list[Path] = []
    for path in named:
        inside = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
        if not inside:
            raise CommandError(
                "One of the folders contains no journal.", "Journals end in .jsonl.", Exit.USAGE
            )
        files.extend(inside)
    return files
