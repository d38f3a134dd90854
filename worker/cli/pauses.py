"""`tags`, `templates` and `resume`: what errors switched off, and how an operator ends that."""

import argparse
import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from policies.facts import TagState
from sendwindow.vocabulary import Channel
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
    """Describe the arguments of `tags`, `templates` or `resume`."""
    parser.set_defaults(command_function=run, word=name, name=None)
    if name == "resume":
        parser.add_argument("name", metavar="SENDER|ACCOUNT", help="its name in the settings")
        add_json(parser)
        return
    words = parser.add_subparsers(metavar="list|reset", required=True)
    listed = words.add_parser("list", help="list all of them, with what errors said")
    add_json(listed)
    reset = words.add_parser("reset", help="forget what errors said, so that it is tried again")
    reset.add_argument(
        "name", metavar="SENDER" if name == "tags" else "TEMPLATE", help="its name in the settings"
    )
    add_json(reset)


def run(arguments: argparse.Namespace) -> int:
    """List, or switch on again. Returns FAILED when there was nothing to undo."""
    return asyncio.run(
        _run(arguments.config, arguments.word, arguments.name, Output(arguments.json))
    )


async def _run(config: str | None, word: str, name: str | None, output: Output) -> int:
    from worker.wiring import open_store, read_settings

    settings = read_settings(config, with_credentials=False)
    switches = {"tags": tags, "templates": templates, "resume": pauses}[word](settings)
    async with open_store(settings) as store:
        if name is None:
            (_print_tags if word == "tags" else _print_templates)(
                await said_of(store, switches), output
            )
            return Exit.DONE
        return await _switch_on(
            store, [one for one in switches if one.name == name], switches, output
        )


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


async def _switch_on(
    store: "Store", meant: Sequence[PauseKind], known: Iterable[PauseKind], output: Output
) -> int:
    if not meant:
        names = (
            ", ".join(dict.fromkeys(switch.name for switch in known))
            or "none: there is none in the settings"
        )
        raise CommandError(
            "There is no such name in the settings.", f"Use one of {names}.", Exit.USAGE
        )
    done = [switch for switch in meant if await _undo(store, switch)]
    if not done:
        raise CommandError("There was nothing to undo.", "`doctor` lists what is switched off.")
    if output.as_json:
        for switch in done:
            output.object(
                {
                    "switched_on": _WORDS[switch.kind],
                    "name": switch.name,
                    "language": switch.language or None,
                }
            )
    output.say(f"switched on: {', '.join(switch.title for switch in done)}")
    return Exit.DONE


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
