"""`campaign`: pauses, resumes or cancels a campaign of a sender, or shows where it stands."""

import argparse
import asyncio
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sendwindow.ids import name_complaint
from worker.cli.exit_codes import CommandError, Exit
from worker.cli.input_parsing import number_of_hours
from worker.cli.output import Output, add_json, counted, instant

if TYPE_CHECKING:
    from sendwindow.producer import Producer
    from sendwindow.results import CampaignStatus
    from worker.settings.settings import Settings

_HELP: Final = {
    "pause": "send none of its messages until it is resumed; they keep their places",
    "resume": "end its pause at once",
    "cancel": "cancel every message of it that is queued; what is queued later is not cancelled",
    "status": "show whether it is paused or cancelled, and how many messages are queued",
}
_MAX_HOURS: Final = 24 * 365


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Describe the arguments."""
    del name
    words = parser.add_subparsers(dest="word", metavar="|".join(_HELP), required=True)
    for word, help_text in _HELP.items():
        one = words.add_parser(word, help=help_text)
        one.add_argument("sender", metavar="SENDER", help="a sender of the settings")
        one.add_argument("campaign", metavar="CAMPAIGN", help="the campaign of its messages")
        if word == "pause":
            one.add_argument(
                "--hours",
                type=_hours,
                help="how long; without it, until `campaign resume`",
            )
        if word != "status":
            one.add_argument(
                "--dry-run", action="store_true", help="say what it would do, and change nothing"
            )
        add_json(one)
        one.set_defaults(command_function=run)


def _hours(text: str) -> float:
    """Parse how long a pause lasts, in hours. Raises ArgumentTypeError."""
    return number_of_hours(text, _MAX_HOURS)


def run(arguments: argparse.Namespace) -> int:
    """Change or show one campaign. Returns FAILED when there was no pause to end."""
    from worker.wiring import read_settings

    settings = read_settings(arguments.config, with_credentials=False)
    _check(arguments, settings)
    return asyncio.run(_run(settings, arguments, Output(arguments.json)))


def _check(arguments: argparse.Namespace, settings: "Settings") -> None:
    if arguments.sender not in settings.senders:
        names = ", ".join(settings.senders) or "none: there is none in the settings"
        raise CommandError(
            "There is no such sender in the settings.", f"Use one of {names}.", Exit.USAGE
        )
    complaint = name_complaint(arguments.campaign)
    if complaint is not None:
        problem, remedy = complaint
        raise CommandError(
            f"The name of the campaign {problem}.", f"{remedy[0].upper()}{remedy[1:]}.", Exit.USAGE
        )


async def _run(settings: "Settings", arguments: argparse.Namespace, output: Output) -> int:
    from worker.wiring import open_producer

    is_dry = arguments.word != "status" and arguments.dry_run
    async with open_producer(settings) as producer:
        word = "status" if is_dry else arguments.word
        status = await _ask(producer, word, arguments)
    if output.as_json:
        output.object({"action": arguments.word, "dry_run": is_dry, **asdict(status)})
    else:
        _print(status, output)
    done = status.is_paused if is_dry else status.changed
    if arguments.word == "resume" and not done:
        output.say("there is no pause to end")
        return Exit.FAILED
    if is_dry:
        output.say(f"`campaign {arguments.word}` without --dry-run {_effect(status, arguments)}")
    return Exit.DONE


async def _ask(producer: "Producer", word: str, arguments: argparse.Namespace) -> "CampaignStatus":
    names = arguments.sender, arguments.campaign
    match word:
        case "pause":
            lasting = None if arguments.hours is None else timedelta(hours=arguments.hours)
            return await producer.pause_campaign(*names, lasting)
        case "resume":
            return await producer.resume_campaign(*names)
        case "cancel":
            return await producer.cancel_campaign(*names)
        case _:
            return await producer.campaign_status(*names)


def _effect(status: "CampaignStatus", arguments: argparse.Namespace) -> str:
    if arguments.word == "pause":
        return "pauses it until " + (
            "it is resumed" if arguments.hours is None else f"{arguments.hours:g} hours have passed"
        )
    if arguments.word == "resume":
        return "ends its pause"
    if status.queued is None:
        return "cancels what was queued since its last cancel"
    return f"cancels {counted(sum(status.queued.values()), 'queued message')}"


def _print(status: "CampaignStatus", output: Output) -> None:
    lanes = (status.queued or {}).items()
    queued = ", ".join(f"{number} {name}" for name, number in lanes) + " queued"
    if status.is_ending:
        queued = "workers are recording the ends of cancelled messages"
    paused = "not paused"
    if status.is_paused:
        paused = "paused until " + (
            instant(status.paused_until) if status.paused_until else "it is resumed"
        )
    at = status.cancelled_at
    cancelled = "" if at is None else f"; cancelled what was queued until {instant(at)}"
    output.say(f"campaign {status.campaign} of {status.sender}: {paused}; {queued}{cancelled}")
