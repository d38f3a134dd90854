"""`consent`: records that one person or many gave or withdrew consent.

Its sentences never repeat an address.
"""

import argparse
import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sendwindow.limits import text_complaint
from sendwindow.vocabulary import Purpose
from worker.cli import suspected_stops
from worker.cli.exit_codes import CommandError, Exit
from worker.cli.input_parsing import channel_of, decode, load_json, open_lines, read_instant
from worker.cli.journal_option import add_journal, open_journal, write_consent
from worker.cli.output import Output, add_json, instant, progress

if TYPE_CHECKING:
    from datetime import datetime

    from policies.policy import Policy
    from worker.ports.people import ConsentEntry
    from worker.settings.settings import Settings
    from worker.stores.store import Store
    from worker.telemetry.journal import Journal

ALL = "all"
"""Means every purpose that a grant or a withdrawal may cover at once."""

_PURPOSES: Final = (ALL, *(purpose.value for purpose in Purpose))


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Describe the arguments."""
    del name
    words = parser.add_subparsers(dest="word", metavar="grant|revoke|suspected", required=True)
    listed = "list, confirm or dismiss texts that may mean stop"
    suspected_stops.configure(
        words.add_parser("suspected", help=listed, description=listed[0].upper() + listed[1:] + ".")
    )
    for word, help_text in (
        ("grant", "record that a person gave consent"),
        ("revoke", "record that a person withdrew it"),
    ):
        one = words.add_parser(
            word, help=help_text, description=help_text[0].upper() + help_text[1:] + "."
        )
        one.add_argument(
            "address",
            metavar="ADDRESS",
            help='a person\'s address; - reads JSON Lines: {"address": …, "purpose": …, and the '
            "options below}",
        )
        one.add_argument(
            "--purpose",
            choices=_PURPOSES,
            default=None,
            help="what the consent is for; `all` does not include marketing",
        )
        one.add_argument(
            "--account", help="Twilio account by its name in the settings (default: the only one)"
        )
        one.add_argument(
            "--sender",
            help="only at this sender (default: every sender of the account on that channel)",
        )
        one.add_argument(
            "--source",
            default="command",
            help="how the person consented, such as 'signup form' (default: %(default)s)",
        )
        one.add_argument(
            "--wording", default="", help="version of the text that the person agreed to"
        )
        one.add_argument("--evidence", default="", help="where the proof is kept")
        one.add_argument(
            "--at",
            help=(
                "when the person consented, such as 2026-11-21T10:00:00Z (default: "
                "now); each line of a file has its own"
            ),
        )
        if word == "grant":
            one.add_argument("--expires", help="when the consent ends, in the same format")
            one.add_argument(
                "--after-stop",
                action="store_true",
                help="the person said STOP earlier, and has asked for messages since then",
            )
        add_journal(one)
        add_json(one)
        one.set_defaults(command_function=run, granted=word == "grant")


@dataclass(frozen=True, slots=True)
class ConsentStatement:
    """What one person said about one purpose, before it is checked against the settings."""

    address: str
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ConsentLines:
    """What applies to all lines: the default options, and what to record."""

    options: Mapping[str, Any]
    granted: bool
    after_stop: bool


def run(arguments: argparse.Namespace) -> int:
    """Record the consent of one person, or of many from standard input.

    Returns FAILED when a line was bad.
    """
    from worker.wiring import read_settings

    settings, output = (
        read_settings(arguments.config, with_credentials=False),
        Output(arguments.json),
    )
    names = ("purpose", "account", "sender", "source", "wording", "evidence", "at", "expires")
    options = {name: getattr(arguments, name, None) for name in names}
    # Only a grant can come after a STOP.
    after_stop = arguments.granted and arguments.after_stop
    if arguments.address == "-":
        if arguments.granted and arguments.at is not None:
            raise CommandError(
                "--at cannot date many grants.", "Give each line its own `at`.", Exit.USAGE
            )
        lines = ConsentLines(options, arguments.granted, after_stop)
        with open_journal(arguments.journal) as journal, open_lines("-") as (file, _):
            return asyncio.run(_record_lines(settings, file, lines, output, journal))
    address, entry = read_entry(
        settings, ConsentStatement(arguments.address, options), granted=arguments.granted
    )
    with open_journal(arguments.journal) as journal:
        stop = asyncio.run(_record_one(settings, address, entry, journal, after_stop=after_stop))
    if output.as_json:
        output.object(_as_object(entry, stop))
    if stop is None:
        output.say(f"{_word(entry)}: {entry.purpose or ALL}")
    else:
        output.say(f"recorded, but the newer stop of {instant(stop)} still applies")
    return Exit.DONE


def _word(entry: "ConsentEntry") -> str:
    return "granted" if entry.granted else "revoked"


def _as_object(entry: "ConsentEntry", stop: "datetime | None") -> dict[str, object]:
    """Return what was recorded, as JSON. It does not repeat the address."""
    purpose = entry.purpose or ALL
    said: dict[str, object] = {"recorded": _word(entry), "purpose": purpose, "sender": entry.sender}
    return said | {"effective": stop is None} if entry.granted else said


def read_entry(
    settings: "Settings", said: ConsentStatement, *, granted: bool
) -> "tuple[str, ConsentEntry]":
    """Build an entry of the ledger. Raises CommandError when it does not fit the settings."""
    from worker.ports.people import ConsentEntry
    from worker.runtime.clock import wall_now

    options = said.options
    channel = channel_of(said.address)
    purpose = options.get("purpose") or (None if granted else ALL)
    if purpose not in _PURPOSES:
        raise CommandError(
            "The purpose is missing or unknown.", f"Use one of {', '.join(_PURPOSES)}.", Exit.USAGE
        )
    account = options.get("account") or _only_account(settings)
    if account not in settings.accounts:
        raise CommandError(
            "There is no such account in the settings.",
            f"Use one of {', '.join(settings.accounts)}.",
            Exit.USAGE,
        )
    sender = options.get("sender")
    if sender is not None and (
        sender not in settings.senders or settings.senders[sender].channel is not channel
    ):
        raise CommandError(
            "There is no such sender on the channel of this address.",
            "Look at [senders].",
            Exit.USAGE,
        )
    at, expires_at, now = (
        read_instant(options.get("at")),
        read_instant(options.get("expires")),
        wall_now(),
    )
    if at is not None and at > now:
        raise CommandError(
            "`at` is in the future.",
            "Give the time at which the person consented.",
            Exit.USAGE,
        )
    # Check only grants: a withdrawal is never rejected because of another field.
    if granted and expires_at is not None and expires_at <= now:
        raise CommandError(
            "`expires` is in the past, so this consent permits nothing.",
            "Correct it, or do not record this consent.",
            Exit.USAGE,
        )
    entry = ConsentEntry(
        granted=granted,
        account=account,
        purpose=None if purpose == ALL else str(purpose),
        sender=sender,
        source=_text(options, "source") or "command",
        wording=_text(options, "wording"),
        evidence=_text(options, "evidence"),
        at=at,
        expires_at=expires_at,
    )
    return said.address, entry


def _text(options: Mapping[str, Any], name: str) -> str:
    text = str(options.get(name) or "")
    if text_complaint(text, len(text) * 2):
        raise CommandError(f"`{name}` is not valid Unicode.", "Write it as UTF-8.", Exit.USAGE)
    return text


def _only_account(settings: "Settings") -> str:
    if len(settings.accounts) != 1:
        raise CommandError(
            "The settings name several accounts, or none.", "Name one with --account.", Exit.USAGE
        )
    return next(iter(settings.accounts))


async def _record_one(
    settings: "Settings",
    address: str,
    entry: "ConsentEntry",
    journal: "Journal",
    *,
    after_stop: bool,
) -> "datetime | None":
    from worker.wiring import load_rules, open_store

    async with open_store(settings, reading=False) as store:
        await _record(store, address, entry, journal, after_stop=after_stop)
        return await _stop_over(store, address, entry, load_rules(settings).policy)


async def _record(
    store: "Store", address: str, entry: "ConsentEntry", journal: "Journal", *, after_stop: bool
) -> None:
    asked_at = journal.now()
    if await store.people.record_consent(address, entry, after_stop=after_stop) == "opted_out":
        raise CommandError(
            "Not recorded: this person said STOP or withdrew this consent earlier, and "
            "that still applies.",
            "If the person has asked for messages since then, repeat with --after-stop.",
        )
    write_consent(journal, entry, store.people.digest(address), asked_at, after_stop=after_stop)


async def _stop_over(
    store: "Store", address: str, entry: "ConsentEntry", policy: "Policy"
) -> "datetime | None":
    """Return the stop that outranks this recorded grant, or None when the grant counts.

    Such a stop is newer than the grant.
    """
    from policies.consent import permission
    from worker.runtime.clock import wall_now

    if not entry.granted or entry.at is None:
        return None
    person = (await store.people.facts(address, entry.sender or "", entry.account, None)).person
    covered = [purpose for purpose in Purpose if None in policy.purposes[purpose].granted_by]
    stops = [
        permission(person, purpose, entry.sender or "", policy, wall_now()).opted_out_at
        for purpose in ([Purpose(entry.purpose)] if entry.purpose else covered)
    ]
    holding = [stop for stop in stops if stop is not None]
    return max(holding) if len(holding) == len(stops) else None


async def _record_lines(
    settings: "Settings",
    file: Iterable[bytes],
    lines: ConsentLines,
    output: Output,
    journal: "Journal",
) -> int:
    from worker.wiring import load_rules, open_store

    bad: list[tuple[int, str]] = []
    recorded = without_effect = 0
    policy = load_rules(settings).policy
    async with open_store(settings, reading=False) as store:
        with progress("consents") as advance:
            for number, said in _read_lines(file, lines, bad):
                try:
                    address, entry = read_entry(settings, said, granted=lines.granted)
                    await _record(store, address, entry, journal, after_stop=lines.after_stop)
                except CommandError as error:
                    bad.append((number, str(error)))
                    continue
                stop = await _stop_over(store, address, entry, policy)
                if output.as_json:
                    output.object({"line": number, **_as_object(entry, stop)})
                recorded += 1
                without_effect += stop is not None
                advance(1)
    output.bad_lines(bad, "correct these lines and repeat; lines that are recorded stay recorded")
    output.say(f"{recorded} recorded, {len(bad)} bad")
    if without_effect:
        output.say(f"{without_effect} of the recorded lines changed nothing: a newer stop applies")
    return Exit.FAILED if bad else Exit.DONE


def _read_lines(
    file: Iterable[bytes], lines: ConsentLines, bad: list[tuple[int, str]]
) -> Iterator[tuple[int, ConsentStatement]]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            yield number, _read_line(decode(line), lines)
        except CommandError as error:
            bad.append((number, str(error)))


def _read_line(line: str, lines: ConsentLines) -> ConsentStatement:
    try:
        fields = load_json(line)
    except ValueError:
        fields = None
    if not isinstance(fields, dict) or not isinstance(fields.get("address"), str):
        raise CommandError(
            "is not a JSON object with an address.", 'Write {"address": …, "purpose": …}.'
        )
    if set(fields) - {"address", *lines.options}:
        raise CommandError("has unknown fields.", f"Use address, {', '.join(lines.options)}.")
    if not all(isinstance(value, str | None) for value in fields.values()):
        raise CommandError(
            "has a field that is not a text.",
            "Write every value as a string, or leave the field out.",
        )
    if lines.granted and fields.get("at") is None:
        # The current time as a default would outrank a STOP that came after the consent.
        raise CommandError(
            "does not say when the person consented.", 'Add "at": "2026-03-01T09:30:00Z".'
        )
    return ConsentStatement(fields.pop("address"), {**lines.options, **fields})
