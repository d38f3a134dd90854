"""`lanes`: what waits in each lane, and what blocks it."""

import argparse
import asyncio
from typing import TYPE_CHECKING

from worker.cli.exit_codes import Exit
from worker.cli.output import Output, add_json

if TYPE_CHECKING:
    from worker.settings.settings import Settings
    from worker.stores.lane_states import LaneState

_COLUMNS = ("account", "sender", "lane", "queued", "due", "blocked_by", "since", "until")


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Describe the arguments."""
    del name
    add_json(parser)
    parser.set_defaults(command_function=run)


def run(arguments: argparse.Namespace) -> int:
    """List accounts, senders and lanes."""
    from worker.wiring import read_settings

    settings = read_settings(arguments.config, with_credentials=False)
    states = asyncio.run(_states(settings))
    output = Output(arguments.json)
    make = _for_programs if output.as_json else _for_people
    output.table(_COLUMNS, [make(state) for state in states])
    return Exit.DONE


async def _states(settings: "Settings") -> "list[LaneState]":
    from worker.wiring import open_store

    async with open_store(settings) as store:
        senders = {sender.name: sender.account for sender in settings.senders.values()}
        return await store.lanes.states(settings.accounts, senders)


def _for_people(state: "LaneState") -> dict[str, object]:
    block = state.block
    parts = [part for part in (state.priority, state.campaign) if part]
    return {
        "account": state.account if state.kind == "account" else "",
        "sender": state.sender if state.kind == "sender" else "",
        "lane": " ".join(parts),
        "queued": state.queued,
        "due": state.due,
        "blocked_by": block and " ".join(part for part in (block.by, block.detail) if part),
        "since": block and block.since,
        "until": block and block.until,
    }


def _for_programs(state: "LaneState") -> dict[str, object]:
    block = state.block
    return {
        "kind": state.kind,
        "account": state.account or None,
        "sender": state.sender or None,
        "priority": state.priority or None,
        "campaign": state.campaign or None,
        "queued": state.queued,
        "due": state.due,
        "blocked_by": block and block.by,
        "detail": (block and block.detail) or None,
        "since": block and block.since,
        "until": block and block.until,
    }
