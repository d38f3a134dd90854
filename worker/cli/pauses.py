"""`tags`, `templates`, `pause`, `resume`: what is switched off, and how an operator does that."""

import argparse
import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from policies.facts import TagState
from sendwindow.vocabulary import Channel
from worker.cli.dead import hours
from worker.cli.exit_codes import CommandError, Exit
from worker.cli.output import Output, add_json

if TYPE_CHECKING:
    from worker.ports.stored_facts import StoredState
    from worker.settings.settings import Settings
    from worker.stores.pauses import Kind
    from worker.stores.store import Store


@dataclass(frozen=True, slots=True)
class PauseKind:
    """One thing that can be switched off.

    `kind` and `key`: the store's names for it. The other fields are for people.
    """

    kind: "Kind"
    key: str
    name: str
    language: str = ""
    configured: str = ""

    @property
    def title(self) -> str:
        """What it is, as named in the settings."""
        return f"{_WORDS[self.kind]} {self.name}" + (f" ({self.language})" if self.language else "")

    @property
    def remedy(self) -> str:
        """The command that switches it on again."""
        return f"{_REMEDIES[self.kind]} {self.name}"


_UNTIL_RESUMED = timedelta(days=3650)

_WORDS: "dict[Kind, str]" = {
    "sender": "sender",
    "account": "account",
    "tag_state": "tag",
    "template": "template",
}
_REMEDIES: "dict[Kind, str]" = {
    "sender": "resume",
    "account": "resume",
    "tag_state": "tags reset",
    "template": "templates reset",
}


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Describe the arguments of `tags`, `templates`, `pause` or `resume`."""
    parser.set_defaults(
        command_function=run, word=name, name=None, dry_run=False, hours=None, reason=""
    )
    if name in {"pause", "resume"}:
        parser.add_argument("name", metavar="SENDER|ACCOUNT", help="its name in the settings")
        if name == "pause":
            parser.add_argument(
                "--hours", type=hours, help="how long, at most 168 (default: until `resume`)"
            )
            parser.add_argument(
                "--reason", default="an operator", help="what `doctor` and `lanes` show"
            )
        _add_dry_run(parser)
        add_json(parser)
        return
    words = parser.add_subparsers(metavar="list|reset", required=True)
    listed = words.add_parser("list", help="list all of them, with what errors said")
    add_json(listed)
    reset = words.add_parser("reset", help="forget what errors said, so that it is tried again")
    reset.add_argument(
        "name", metavar="SENDER" if name == "tags" else "TEMPLATE", help="its name in the settings"
    )
    _add_dry_run(reset)
    add_json(reset)


def _add_dry_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dry-run", action="store_true", help="show what it would do; write nothing"
    )


def run(arguments: argparse.Namespace) -> int:
    """List, switch off, or switch on again. Returns FAILED when there was nothing to undo."""
    return asyncio.run(_run(arguments, Output(arguments.json)))


async def _run(arguments: argparse.Namespace, output: Output) -> int:
    from worker.wiring import open_store, read_settings

    settings = read_settings(arguments.config, with_credentials=False)
    word, name = arguments.word, arguments.name
    known = {"tags": tags, "templates": templates}.get(word, pauses)(settings)
    async with open_store(settings) as store:
        if name is None:
            (_print_tags if word == "tags" else _print_templates)(
                await said_of(store, known), output
            )
            return Exit.DONE
        meant = _named(name, known)
        if word == "pause":
            return await _switch_off(store, meant, arguments, output)
        return await _switch_on(store, meant, output, is_dry=arguments.dry_run)


def _named(name: str, known: Iterable[PauseKind]) -> list[PauseKind]:
    """Return what has this name in the settings. Raises CommandError when nothing has."""
    if meant := [one for one in known if one.name == name]:
        return meant
    names = (
        ", ".join(dict.fromkeys(switch.name for switch in known))
        or "none: there is none in the settings"
    )
    raise CommandError("There is no such name in the settings.", f"Use one of {names}.", Exit.USAGE)


def pauses(settings: "Settings") -> list[PauseKind]:
    """Return what can be paused."""
    accounts = [PauseKind("account", name, name) for name in settings.accounts]
    return [*accounts, *(PauseKind("sender", name, name) for name in settings.senders)]


def tags(settings: "Settings") -> list[PauseKind]:
    """Return the Pages, each of which has its own ACCOUNT_UPDATE."""
    pages = [
        name for name, sender in settings.senders.items() if sender.channel is Channel.MESSENGER
    ]
    return [PauseKind("tag_state", name, name) for name in pages]


def templates(settings: "Settings") -> list[PauseKind]:
    """Return the templates in each language."""
    return [
        PauseKind("template", content.sid, name, language, content.approval.value)
        for name, template in settings.templates.items()
        for language, content in template.languages.items()
    ]


async def said_of(
    store: "Store", switches: Sequence[PauseKind]
) -> "list[tuple[PauseKind, StoredState]]":
    """Return each of these with what errors said about it."""
    states = await store.switches.states([(switch.kind, switch.key) for switch in switches])
    return list(zip(switches, states, strict=True))


async def switched_off(
    settings: "Settings", store: "Store"
) -> "list[tuple[PauseKind, StoredState]]":
    """Return paused accounts and senders, dead tags, and templates that an error switched off."""
    said = await said_of(store, [*pauses(settings), *tags(settings), *templates(settings)])
    return [(switch, state) for switch, state in said if _is_off(switch, state)]


def _is_off(switch: PauseKind, said: "StoredState") -> bool:
    match switch.kind:
        case "tag_state":
            return said.state == TagState.DEAD
        case "template":
            return said.state is not None
        case _:
            return said.paused_until is not None


async def _switch_off(
    store: "Store", meant: Sequence[PauseKind], arguments: argparse.Namespace, output: Output
) -> int:
    lasting = timedelta(hours=arguments.hours) if arguments.hours else _UNTIL_RESUMED
    for switch in meant:
        kind = switch.kind
        if kind in ("sender", "account") and not arguments.dry_run:
            await store.switches.pause(kind, switch.key, lasting, arguments.reason)
    _report("paused", meant, output, is_dry=arguments.dry_run)
    return Exit.DONE


async def _switch_on(
    store: "Store", meant: Sequence[PauseKind], output: Output, *, is_dry: bool
) -> int:
    if is_dry:
        accounts = [switch.key for switch in meant if switch.kind == "account"]
        broken = await store.lanes.open_breakers(accounts)
        said = await said_of(store, meant)
        done = [one for one, state in said if _is_off(one, state) or one.key in broken]
    else:
        done = [switch for switch in meant if await _undo(store, switch)]
    if not done:
        raise CommandError("There was nothing to undo.", "`doctor` lists what is switched off.")
    _report("switched on", done, output, is_dry=is_dry)
    return Exit.DONE


def _report(what: str, done: Sequence[PauseKind], output: Output, *, is_dry: bool) -> None:
    if output.as_json:
        for switch in done:
            found: dict[str, object] = {
                what.replace(" ", "_"): _WORDS[switch.kind],
                "name": switch.name,
                "language": switch.language or None,
            }
            output.object(found | {"dry_run": True} if is_dry else found)
    names = ", ".join(switch.title for switch in done)
    output.say(f"would be {what}: {names}" if is_dry else f"{what}: {names}")


async def _undo(store: "Store", switch: PauseKind) -> bool:
    kind = switch.kind
    match kind:
        case "sender" | "account":
            return await store.switches.resume(kind, switch.key)
        case _:
            return await store.switches.reset(kind, switch.key)


def _print_tags(said: "Sequence[tuple[PauseKind, StoredState]]", output: Output) -> None:
    rows = [
        {
            "sender": switch.name,
            "state": state.state or TagState.UNPROVEN.value,
            "reason": state.reason,
        }
        for switch, state in said
    ]
    output.table(("sender", "state", "reason"), rows)


def _print_templates(said: "Sequence[tuple[PauseKind, StoredState]]", output: Output) -> None:
    rows = [
        {
            "template": switch.name,
            "language": switch.language,
            "state": state.state or switch.configured,
            "until": state.paused_until,
            "reason": state.reason,
            "content_sid": switch.key,
        }
        for switch, state in said
    ]
    output.table(("template", "language", "state", "until", "reason", "content_sid"), rows)
