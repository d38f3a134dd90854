"""`processes` and `doctor` show which processes are alive, and which of them wait for others."""

import asyncio
from collections.abc import Mapping
from typing import Any

from tests.conftest import StoreUnderTest
from tests.support.cli_world import CommandLine
from tests.support.processes_world import OLD, report_of, write_entry
from tests.support.stores_world import opened
from worker.cli.exit_codes import Exit
from worker.ports.processes import Holdings
from worker.stores.processes import ProcessStore
from worker.wiring import read_settings, settings_digests


def alive(store: StoreUnderTest, **processes: Mapping[str, Any]) -> None:
    """Let processes report: the entry of an old release, or a report of this one."""

    async def write() -> None:
        async with opened(store) as world:
            for name, fields in processes.items():
                if fields is OLD:
                    await write_entry(world, name, fields)
                else:
                    await ProcessStore(world.calls, name).report(report_of(**fields))

    asyncio.run(write())


def test_without_a_process_it_says_so(command: CommandLine) -> None:
    """A store at which nothing runs is no error."""
    answer = command("processes")
    assert (answer.code, answer.out) == (Exit.DONE, "no process is running\n")
    assert command("processes", "--json").out == ""


def test_each_process_is_one_line(command: CommandLine, store: StoreUnderTest) -> None:
    """A line shows release, layout, what the process does and holds, and whose settings differ."""
    digests = settings_digests(read_settings(str(command.config)))
    alive(
        store,
        worker_1={"settings": digests, "holds": Holdings(messages=5, posts=2)},
        worker_2={"settings": digests | {"guards": "0"}},
    )
    lines = [line.split() for line in command("processes").out.splitlines()]
    assert lines == [
        ["process", "release", "layout", "does", "messages", "posts", "settings"],
        ["worker_1", "0.1.0", "1", "works", "5", "2", "as", "here"],
        ["worker_2", "0.1.0", "1", "works", "another", "[guards]"],
    ]


def test_a_program_gets_every_field(command: CommandLine, store: StoreUnderTest) -> None:
    """What an old release did not report is null, and its layouts are not known."""
    alive(store, old=OLD, worker={"settings": {"guards": "0"}, "holds": Holdings(5, 2)})
    assert command("processes", "--json").objects == [
        {
            "process": "old",
            "role": "worker",
            "release": None,
            "layouts": None,
            "waits": False,
            "messages": None,
            "posts": None,
            "other_settings": [],
        },
        {
            "process": "worker",
            "role": "worker",
            "release": "0.1.0",
            "layouts": [1, 1],
            "waits": True,
            "messages": 5,
            "posts": 2,
            "other_settings": ["guards"],
        },
    ]


def test_doctor_fails_while_a_process_waits(command: CommandLine, store: StoreUnderTest) -> None:
    """`doctor` names the processes that wait for another release, and what to do."""
    alive(store, old=OLD, worker={})
    answer = command("doctor", "--json")
    assert answer.code == Exit.FAILED
    [line] = [line for line in answer.objects if line["what"] == "processes"]
    assert (line["mark"], line["finding"].partition(":")[0]) == (
        "FAILED",
        "worker waits for processes of a release that cannot work at the same time",
    )
