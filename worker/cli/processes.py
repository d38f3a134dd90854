"""`processes`: the workers and gateways that are alive, and whether they can run together."""

import argparse
import asyncio
from typing import TYPE_CHECKING

from worker.cli.exit_codes import Exit
from worker.cli.output import Output, add_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.ports.processes import LivingProcess
    from worker.settings.settings import Settings


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Describe the arguments."""
    del name
    add_json(parser)
    parser.set_defaults(command_function=run)


def run(arguments: argparse.Namespace) -> int:
    """List the processes that reported within the last 30 s."""
    from worker.wiring import read_settings

    settings = read_settings(arguments.config, with_credentials=False)
    living, digests = asyncio.run(_living(settings))
    output = Output(arguments.json)
    if not living and not output.as_json:
        output.say("no process is running")
        return Exit.DONE
    columns = ("process", "release", "layout", "does", "messages", "posts", "settings")
    make = _for_programs if output.as_json else _for_people
    output.table(columns, [make(one, digests) for one in living])
    return Exit.DONE


async def _living(settings: "Settings") -> "tuple[list[LivingProcess], Mapping[str, str]]":
    from worker.wiring import open_store, settings_digests

    async with open_store(settings) as store:
        living = await store.processes.living()
    return sorted(living, key=lambda one: (one.role, one.process_id)), settings_digests(settings)


def _for_people(process: "LivingProcess", digests: "Mapping[str, str]") -> dict[str, object]:
    differing = process.differs_in(digests)
    return {
        "process": process.process_id,
        "release": process.release_name,
        "layout": process.layouts,
        "does": "waits" if process.is_waiting else "works",
        "messages": process.holds and process.holds.messages,
        "posts": process.holds and process.holds.posts,
        "settings": "another " + ", ".join(f"[{name}]" for name in differing)
        if differing
        else "as here",
    }


def _for_programs(process: "LivingProcess", digests: "Mapping[str, str]") -> dict[str, object]:
    layouts, holds = process.layouts, process.holds
    return {
        "process": process.process_id,
        "role": process.role,
        "release": process.release,
        "layouts": layouts and [layouts.first, layouts.last],
        "waits": process.is_waiting,
        "messages": holds and holds.messages,
        "posts": holds and holds.posts,
        "other_settings": process.differs_in(digests),
    }
