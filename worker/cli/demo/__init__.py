"""`demo`: runs the whole service on one machine against the sandbox, and checks the results.

The input is real, and each message has an expectation.
"""

import argparse
import asyncio
import errno
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from worker.cli.exit_codes import CommandError, Exit
from worker.cli.output import Output, add_json, console

if TYPE_CHECKING:
    from verify.report import Report
    from worker.cli.demo.compare import Deviation
    from worker.cli.demo.demo_processes import DemoProcesses
    from worker.cli.demo.demo_script import DemoScript
    from worker.cli.demo.play import Result
    from worker.ports.records import Record

EXAMPLES: Final = Path(__file__).resolve().parents[3] / "examples"


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Describe the arguments."""
    del name
    parser.add_argument(
        "--examples",
        type=Path,
        default=EXAMPLES,
        metavar="FOLDER",
        help="folder with sendwindow.toml, messages.jsonl and people.jsonl (default: examples)",
    )
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="FOLDER",
        help="copy journals (for `verify`) and logs to this folder",
    )
    add_json(parser)
    parser.set_defaults(command_function=run)


def run(arguments: argparse.Namespace) -> int:
    """Play the demo.

    Returns DONE only when every row came out as expected and no promise is refuted.
    """
    from worker.cli.signals import run_or_cancel

    return asyncio.run(
        run_or_cancel(_run(arguments.examples, arguments.keep, Output(arguments.json)))
    )


async def _run(examples: Path, keep: Path | None, output: Output) -> int:
    from verify.judge import verify
    from verify.judge_context import Options
    from worker.cli.demo.compare import deviations, forms_posted, summary
    from worker.cli.demo.demo_processes import DemoProcesses
    from worker.cli.demo.demo_script import read_script
    from worker.cli.demo.story import NEXT
    from worker.cli.verify import verdict
    from worker.runtime.clock import monotonic

    began, script = monotonic(), read_script(examples)
    if keep is not None:
        _prepare(keep)
    output.say(f"{len(script.rows)} messages of {examples.name}/messages.jsonl, played over a day")
    async with DemoProcesses(examples) as stage:
        results, records = await _play(stage, script, output)
        await stage.stop()
        report = verify(
            sorted(stage.journals.glob("*.jsonl")), Options(open_allowed=frozenset({"unresolved"}))
        )
        found = deviations(script, results, records, forms_posted(stage.journals / "sandbox.jsonl"))
        if keep is not None:
            _keep(stage, keep)
    rows = summary(list(results.values()))
    output.table(("end", "reason", "messages"), rows, "By end and reason")
    deviating = {deviation.row.number for deviation in found}
    _print_story(script, deviating, output)
    _print_report(report, output)
    _print_deviations(found, records, output)
    as_expected = len(script.rows) - len(deviating)
    output.say(f"{as_expected} of {len(script.rows)} as expected, in {monotonic() - began:.1f} s")
    stopped_well = not any(stage.worker_exits)
    if not stopped_well:
        output.say(f"workers did not stop in order: exit codes {stage.worker_exits}")
    if found or not stopped_well or verdict(report) is not Exit.DONE:
        return Exit.FAILED
    if not output.as_json:
        output.say(f"\n{NEXT}")
    return Exit.DONE


def _prepare(keep: Path) -> None:
    """Create the folder now, so that the operator hears at once if the run cannot be kept."""
    try:
        keep.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_kept(error, Exit.USAGE) from error
    if not os.access(keep, os.W_OK | os.X_OK):
        raise _not_kept(PermissionError(errno.EACCES, os.strerror(errno.EACCES)), Exit.USAGE)


def _keep(stage: "DemoProcesses", keep: Path) -> None:
    try:
        shutil.copytree(stage.journals, keep, dirs_exist_ok=True)
        shutil.copytree(stage.logs, keep / "logs", dirs_exist_ok=True)
    except OSError as error:
        raise _not_kept(error, Exit.FAILED) from error


def _not_kept(error: OSError, code: Exit) -> CommandError:
    why = error.strerror or type(error).__name__
    return CommandError(
        f"Nothing can be kept in that folder ({why}).", "Name another folder with --keep.", code
    )


async def _play(
    stage: "DemoProcesses", script: "DemoScript", output: Output
) -> "tuple[dict[int, Result], dict[str, Record]]":
    from rich.console import Console

    from sendwindow.producer import Producer
    from worker.cli.demo.board import Board
    from worker.cli.demo.play import Player
    from worker.settings.settings import load_settings
    from worker.telemetry.journal import Journal
    from worker.wiring import connect_store, store_settings

    screen = Console(stderr=True, quiet=True) if output.as_json else console()
    with store_settings(
        load_settings(stage.config, stage.environ), stage.environ, lambda _folder: None
    ) as settings:
        store = await connect_store(settings, "demo")
        try:
            async with Producer(settings.store.url or "", settings.store.partition) as producer:
                journal = Journal(stage.journals / "producer.jsonl", "producer")
                with Board(screen, len(script.rows)) as board:
                    start = await store.now()
                    player = Player(stage, script, settings, store, producer, journal, board, start)
                    await player.play()
            records = {
                row.name: await store.records.record(row.name)
                for row in script.rows
                if row.is_queued
            }
            return player.results, {
                name: record for name, record in records.items() if record is not None
            }
        finally:
            await store.close()


def _print_story(script: "DemoScript", deviating: set[int], output: Output) -> None:
    from worker.cli.demo.story import story_lines

    if output.as_json:
        return
    for line in story_lines(script.rows, deviating, console().width):
        output.say(line)
    output.say("")


def _print_report(report: "Report", output: Output) -> None:
    from verify.report import render, to_json

    if output.as_json:
        output.object(to_json(report))
    elif report.ok:
        kept = ", ".join(promise.name for promise in report.promises if promise.verdict == "kept")
        output.say(f"verify: nothing broken ({kept} kept)")
    else:
        render(report, console())


def _print_deviations(
    found: "list[Deviation]", records: "dict[str, Record]", output: Output
) -> None:
    from worker.cli.show import print_record

    shown: set[int] = set()
    for deviation in found:
        output.say(f"NOT AS EXPECTED  {deviation}")
    for deviation in found:
        record = records.get(deviation.row.name)
        if record is not None and deviation.row.number not in shown:
            shown.add(deviation.row.number)
            print_record(record, output)
