"""Every command and piece of code in README and docs runs here as printed, in the order of its
page.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from docgen.log_events import collect_events
from sendwindow.vocabulary import Stage
from tests.chaos.processes import ROOT, Process
from tests.support import warm_start
from tests.support.house import House
from worker.cli.exit_codes import Exit

PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs/README.md",
    "docs/architecture.md",
    "docs/arq.md",
    "docs/commands.md",
    "docs/decision-table.md",
    "docs/glossary.md",
    "docs/decisions/README.md",
    "docs/events.md",
    "docs/performance.md",
    "docs/sandbox.md",
    "docs/settings.md",
    "docs/upgrade.md",
)

ELSEWHERE = {
    "demo": "test_demo.py",
    "test": "is what runs this",
    "check": "test_run.py, each step of it",
    "bench": "takes minutes",
    "fmt": "writes into the checkout",
    "lock": "asks a package index, and writes into the checkout",
    "docs": "tests/test_site.py",
    "help": "test_run.py",
    "release": "tests/test_release.py",
    "verify": "test_demo.py, on journals of a run that has ended",
}
"""Commands that another test runs as printed."""

SERVICES = {"sandbox", "up", "run", "serve"}

_BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(\./run [^`]+)`")
_STEP = re.compile(r"^```(sh|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_USE_IT = re.compile(r"^## Use it\n.*?(?=^## )", re.MULTILINE | re.DOTALL)

PLACEHOLDERS = {"MESSAGE_ID": "hello-1", "FILE": "examples/hello.jsonl"}


def commands_in(block: str) -> list[str]:
    """Return the commands of one block."""
    return [line for line in block.splitlines() if line.startswith("./run ")]


def commands_of(page: str) -> list[str]:
    """Return the commands of a page: lines of sh blocks, then those in the text.

    "Use it" has a test of its own.
    """
    text = _USE_IT.sub("", (ROOT / page).read_text())
    blocks = [line for block in _BLOCK.findall(text) for line in commands_in(block)]
    inline = [
        command
        for command in _INLINE.findall(_BLOCK.sub("", text))
        if command.split()[1] != "COMMAND"
    ]
    return list(dict.fromkeys(blocks + inline))


@dataclass(slots=True)
class Reader:
    """A reader who types what a page prints.

    `services` are the ones that the reader left running.
    """

    house: House
    services: dict[str, Process] = field(default_factory=dict)

    def type(self, printed: str) -> None:
        """Type one command. Services are left running, and any other command must succeed."""
        line = printed.removeprefix("./run ")
        for name, value in PLACEHOLDERS.items():
            line = line.replace(name, value)
        typed, _, source = line.partition(" < ")
        words = shlex.split(typed)
        if words[0] in ELSEWHERE:
            return
        if words[0] in SERVICES and "say" not in words:
            self.leave_running(words)
            return
        if words[:2] == ["sandbox", "say"]:
            words += ["--url", f"http://127.0.0.1:{self.house.sandbox_port}"]
        stdin = (self.house.folder / source).open() if source else None
        try:
            answer = warm_start.run(
                "worker",
                words,
                cwd=self.house.folder,
                environ=self.house.environ | {"PYTHONPATH": str(ROOT)},
                stdin=stdin or subprocess.DEVNULL,
            )
        finally:
            if stdin is not None:
                stdin.close()
        assert answer.returncode == Exit.DONE, (
            f"{printed}\n{answer.stdout}{answer.stderr}{self.house.logs()}"
        )

    def run_program(self, source: str) -> str:
        """Run a program that a page prints, and return what it prints. It must succeed."""
        answer = subprocess.run(
            [sys.executable, "-"],
            cwd=self.house.folder,
            env=self.house.environ | {"PYTHONPATH": str(ROOT)},
            input=source,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert answer.returncode == 0, answer.stderr
        return answer.stdout.strip()

    def leave_running(self, words: list[str]) -> None:
        """Start a service once and wait until it is up. `run` and `serve` are parts of `up`."""
        if words[0] in self.services or words[0] in {"run", "serve"}:
            return
        port = ["--port", str(self.house.sandbox_port)] if words[0] == "sandbox" else []
        self.services[words[0]] = self.house.start(words[0], *words, *port, journal=False)
        if words[0] == "sandbox":
            self.house.up("sandbox", self.house.sandbox_port, "/sandbox/health")
        else:
            self.house.up("gateway", self.house.gateway_port, "/health/ready")


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    made = House(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    grant = {
        "address": "whatsapp:+447700900103",
        "purpose": "marketing",
        "at": "2026-03-01T09:30:00+00:00",
    }
    (tmp_path / "grants.jsonl").write_text(json.dumps(grant) + "\n")
    try:
        yield Reader(made)
    finally:
        made.stop()


@pytest.mark.parametrize("page", ["docs/commands.md"])
def test_the_commands_of_a_page_run_as_printed(reader: Reader, page: str) -> None:
    """Each command of a page exits with 0 when typed in order, and services stop with 0."""
    printed = commands_of(page)
    assert printed
    for command in printed:
        reader.type(command)
    for process in reader.services.values():
        assert process.stop() == Exit.DONE
    logs = reader.house.logs()
    assert '"event": "attempt"' in logs
    assert logged_but_unknown(logs) == []


def logged_but_unknown(logs: str) -> list[str]:
    """Return the lines whose event, level or fields are not in docs/events.md.

    That page is generated from the same events.
    """
    events = collect_events(ROOT)
    unknown = []
    for line in logs.splitlines():
        if not line.startswith("{"):
            continue
        fields = json.loads(line)
        event = events.get(fields["event"])
        if "logger" in fields:  # another library's line
            continue
        known = {"event", "level", "at", "role", "pid", "lines_lost"}
        if (
            event is None
            or fields["level"] not in event.levels
            or not set(event.fields) <= set(fields) <= {*known, *event.fields, *event.optional}
        ):
            unknown.append(line)
    return unknown


def test_the_other_pages_print_nothing_that_was_not_run(reader: Reader) -> None:
    """Commands of README and the other pages that docs/commands.md lacks run too."""
    known = set(commands_of("docs/commands.md"))
    reader.leave_running(["sandbox"])
    reader.leave_running(["up"])
    reader.type("./run send examples/hello.jsonl")
    for page in PAGES:
        for command in commands_of(page):
            if command not in known:
                reader.type(command)


@pytest.fixture
def newcomer() -> Iterator[Reader]:
    """Return a reader of the README with minimal settings, in a folder with a short path.

    The path of a socket is limited.
    """
    with tempfile.TemporaryDirectory(prefix="sw-") as folder:
        made = House(Path(folder), example="minimal.toml")
        made.environ["SENDWINDOW_DATA"] = f"{folder}/.data"  # where it is for a newcomer
        try:
            yield Reader(made)
        finally:
            made.stop()


def test_what_the_pages_print_ends_in_accepted(newcomer: Reader) -> None:
    """Commands and programs of "Use it", then the program for plain arq, end in messages that
    Twilio accepted. All run as printed and in order.
    """
    [section] = _USE_IT.findall((ROOT / "README.md").read_text())
    newcomer.house.url = f"unix://{newcomer.house.folder}/.data/store/s.sock"
    queued = iter(("order-7-sent", None, "hours-1"))
    for kind, text in _STEP.findall(section + (ROOT / "docs/arq.md").read_text()):
        if kind == "sh":
            for command in commands_in(text):
                newcomer.type(command)
        else:
            printed = newcomer.run_program(text)
            # The second program prints the id that the message got.
            assert newcomer.house.ends(next(queued) or printed).stage is Stage.ACCEPTED
    assert list(queued) == []


def test_every_piece_of_python_on_a_page_is_run() -> None:
    """No page has Python that the test above does not run. The first piece of the README is part
    of its program.
    """
    pieces = {
        path.relative_to(ROOT).as_posix(): found
        for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
        if (found := [text for kind, text in _STEP.findall(path.read_text()) if kind == "python"])
    }
    assert {page: len(found) for page, found in pieces.items()} == {
        "README.md": 3,
        "docs/arq.md": 1,
    }
    first, program, _ = ("".join(piece.split()).replace(",)", ")") for piece in pieces["README.md"])
    assert first in program


def test_links_lead_somewhere() -> None:
    """Every relative link of a page names a file that exists."""
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text()):
            if not target.startswith("http"):
                assert (path.parent / target).exists(), f"{path}: {target}"


def test_commands_and_exceptions_are_real() -> None:
    """Every exception is printed on some page, so that no exception outlives its command."""
    printed = " ".join(command for page in PAGES for command in commands_of(page))
    for word in ELSEWHERE:
        assert f"./run {word}" in printed
    assert os.access(ROOT / "run", os.X_OK)
