"""The demo is the main job on real input: it runs here as a newcomer would run it."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from policies.status import RANKS
from sendwindow.vocabulary import Stage
from tests.integration.house import HANG_SECONDS
from worker.commands.exits import Exit
from worker.commands.line import main
from worker.commands.states import TRANSITIONS
from worker.logs import REMOVED

KNOWN = {(before, after) for before, after, _ in TRANSITIONS}


def environ(folder: Path) -> dict[str, str]:
    """Nothing of the caller's but the PATH; what the demo makes goes into `folder`."""
    return {"PATH": os.environ.get("PATH", ""), "TMPDIR": str(folder)}


def demo(root: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "worker", "demo", *arguments]
    return subprocess.run(
        command, cwd=root, env=environ(folder), capture_output=True, text=True, timeout=3 * HANG_SECONDS, check=False
    )


@dataclass(frozen=True, slots=True)
class Played:
    """A whole demo. `metrics`: the gateway's, as they were last while it ran."""

    folder: Path
    kept: Path
    code: int
    printed: str
    metrics: str


@pytest.fixture(scope="module")
def played(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Played:
    folder = tmp_path_factory.mktemp("demo")
    kept, metrics = folder / "journals", ""
    command = [sys.executable, "-m", "worker", "demo", "--keep", str(kept)]
    with subprocess.Popen(
        command, cwd=root, env=environ(folder), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            for _ in range(10 * HANG_SECONDS):
                with suppress(subprocess.TimeoutExpired):
                    printed, _ = process.communicate(timeout=0.3)
                    return Played(folder, kept, process.returncode, printed, metrics)
                metrics = scraped(folder) or metrics
        finally:
            process.kill()
    raise TimeoutError("the demo hangs")


def scraped(folder: Path) -> str:
    """The metrics of the gateway of the demo that runs in `folder`; empty while there is none."""
    with suppress(OSError, StopIteration, HTTPException):
        config = next(folder.glob("sendwindow-demo-*/sendwindow.toml")).read_text()
        address = re.search(r'public_url = "http://([0-9.:]+)"', config)
        assert address is not None
        connection = HTTPConnection(address[1], timeout=HANG_SECONDS)
        with closing(connection):
            connection.request("GET", "/metrics")
            return connection.getresponse().read().decode()
    return ""


def test_the_demo_comes_out_as_written_beside_each_message(
    root: Path, played: Played, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 0: every message ended as expected, verify refutes nothing, and no process or folder is left behind.

    Its journals satisfy `verify` once more from the command line, and every step in them is in the drawing of stages.
    """
    assert played.code == Exit.DONE, played.printed[-6000:]
    total = len((root / "examples/messages.jsonl").read_text().splitlines())
    assert f"{total} of {total} as expected" in played.printed
    assert "verify: nothing broken (P1, P2, P3, P4, requests kept)" in played.printed
    assert not list(played.folder.glob("sendwindow-demo-*"))
    assert main(["verify", "--journal", str(played.kept), "--open", "unresolved"]) == Exit.DONE
    assert "nothing broken" in capsys.readouterr().out
    unknown = set(steps(played.kept.glob("*.jsonl"))) - KNOWN
    assert unknown == set()


def test_no_log_and_no_metric_tells_of_a_person(root: Path, played: Played) -> None:
    """No address, text or variable of the examples is in them, and the nets of worker/logs.py had nothing to catch."""
    logs = {path.name: path.read_text() for path in (played.kept / "logs").glob("*.log")}
    everything = "\n".join([*logs.values(), played.metrics])
    assert everything.count('"event": "attempt"') > 100
    assert "\nsendwindow_callbacks_total{" in played.metrics
    assert REMOVED not in everything
    assert '"removed"' not in everything
    said = "\n".join([leaves(line) for text in logs.values() for line in text.splitlines()] + [played.metrics])
    addresses, words = personal(root / "examples")
    assert {address for address in addresses if address in everything} == set()
    assert {word for word in words if re.search(rf"(?<!\w){re.escape(word)}(?!\w)", said)} == set()


def leaves(line: str) -> str:
    """The values of a log line one by one, without its instant; a line that is no JSON as it is."""
    try:
        fields = json.loads(line)
    except ValueError:
        return line
    return "\n".join(str(value) for name, value in fields.items() if name != "at")


def personal(examples: Path) -> tuple[set[str], set[str]]:
    """What must not be told: the examples' addresses without channel and sign, and their texts.

    Left out are texts of one or two characters, found anywhere, and those that are words of Sendwindow's own.
    """
    addresses, texts = set(), set()
    for name in ("messages.jsonl", "people.jsonl"):
        for line in (examples / name).read_text().splitlines():
            row = json.loads(line)
            message = row.get("message", {})
            addresses |= {row.get("address"), message.get("to")}
            content = [message.get("freeform"), (message.get("template") or {}).get("variables"), {"": row.get("body")}]
            texts |= {str(text) for part in content if isinstance(part, dict) for text in part.values()}
    own = {"none", "stop", "start", *RANKS}
    bare = {address.rpartition(":")[2].removeprefix("+") for address in addresses if address}
    return bare, {text for text in texts if len(text) > 2 and text.casefold() not in own}


def test_a_deviation_is_told_with_its_trace_and_fails(root: Path, tmp_path: Path) -> None:
    """An expectation that is not met makes exit 1 and shows the message with every rule that was looked at."""
    examples = tmp_path / "wrong"
    examples.mkdir()
    (examples / "sendwindow.toml").write_bytes((root / "examples/sendwindow.toml").read_bytes())
    (examples / "people.jsonl").write_text("")
    message = {
        "message_id": "no-consent",
        "to": "+447700900201",
        "sender": "text",
        "purpose": "utility",
        "freeform": {"body": "x"},
    }
    expect = {"end": "accepted", "reason": "sms_consent", "form": "freeform", "status": "delivered"}
    row = {"row": "sms.consent", "at": 0, "message": message, "expect": expect}
    (examples / "messages.jsonl").write_text(json.dumps(row) + "\n")
    played = demo(root, tmp_path, "--examples", str(examples))
    assert played.returncode == Exit.FAILED
    assert "NOT AS EXPECTED  no-consent: end is refused, expected accepted" in played.stdout
    assert "consent:deny:no_consent" in played.stdout
    assert "0 of 1 as expected" in played.stdout


@pytest.fixture
def short_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a store finds room for its socket, whose path may not be long."""
    return tmp_path_factory.mktemp("d")


@contextmanager
def playing(root: Path, folder: Path, first: str, *through: str) -> Iterator[subprocess.Popen[str]]:
    """A demo that has printed a line with `first` in it; after the block none of its processes is left."""
    command = [*through, sys.executable, "-u", "-m", "worker", "demo"]
    with subprocess.Popen(
        command, cwd=root, env=environ(folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            # A loaded machine may be done by the time a later line is read.
            assert any(first in line for line in process.stdout)
            yield process
            assert leftovers(folder) == []
            assert not list(folder.iterdir())
        finally:
            process.kill()


def leftovers(folder: Path) -> list[str]:
    """The processes whose command line or environment names a folder, which is how the demo's own know it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (process / "cmdline").read_bytes()
            if str(folder).encode() in command + (process / "environ").read_bytes():
                found.append(command.replace(b"\0", b" ").decode())
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)])
@pytest.mark.parametrize("first", ["played over a day", "accepted"], ids=["at the start", "in the middle"])
def test_an_interrupted_demo_cleans_up(root: Path, short_path: Path, number: signal.Signals, first: str) -> None:
    """Ctrl-C or SIGTERM: exit 130, every process ends and the folder with the store is gone."""
    with playing(root, short_path, first) as process:
        process.send_signal(number)
        _, printed = process.communicate(timeout=HANG_SECONDS)
        assert (process.returncode, printed) == (Exit.INTERRUPTED, "")


@pytest.mark.long
def test_an_impatient_person_does_not_cut_the_clean_up_short(root: Path, short_path: Path) -> None:
    """A second signal while the demo stops changes nothing: it ends soon anyway, and leaves nothing behind."""
    with playing(root, short_path, "accepted") as process:
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        _, printed = process.communicate(timeout=HANG_SECONDS)
        assert (process.returncode, printed) == (Exit.INTERRUPTED, "")


@pytest.mark.long
def test_a_demo_in_the_background_of_a_script_can_be_stopped(root: Path, short_path: Path) -> None:
    """A shell without job control lets such a process ignore SIGINT; SIGTERM must end it all the same."""
    with playing(root, short_path, "accepted", "sh", "-c", 'trap "" INT; exec "$@"', "sh") as process:
        process.send_signal(signal.SIGTERM)
        _, printed = process.communicate(timeout=HANG_SECONDS)
        assert (process.returncode, printed) == (Exit.INTERRUPTED, "")


@pytest.mark.long
def test_a_demo_whose_reader_goes_away_cleans_up(root: Path, short_path: Path) -> None:
    """As in `./run demo | head -1`: it ends without a stack trace, with the code for that, and leaves nothing."""
    with playing(root, short_path, "played over a day") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
        assert process.wait(HANG_SECONDS) == Exit.OUTPUT_CLOSED


def test_a_demo_without_settings_leaves_no_folder(root: Path, short_path: Path) -> None:
    """A folder of examples that is not complete is a usage error, and nothing is left of the attempt."""
    examples, made = short_path / "examples", short_path / "made"
    examples.mkdir()
    made.mkdir()
    for name in ("messages.jsonl", "people.jsonl"):
        (examples / name).write_text("")
    played = demo(root, made, "--examples", str(examples))
    assert played.returncode == Exit.USAGE, played.stderr
    assert not list(made.iterdir())


def steps(journals: Iterable[Path]) -> Iterable[tuple[Stage, Stage]]:
    """Every step from one stage to the next that the journals tell, message by message."""
    lines = [json.loads(line) for path in journals for line in path.read_text().splitlines()]
    stages: dict[str, list[Stage]] = {}
    for line in sorted(lines, key=lambda line: float(line["t"])):
        stage = stage_told(line)
        if stage is not None and line.get("id"):
            stages.setdefault(line["id"], [Stage.QUEUED]).append(stage)
    for told in stages.values():
        if told.count(Stage.CLAIMED) > 1:
            # Two processes write their lines in any order; only a message that one of them had to the end tells steps.
            continue
        for before, after in pairwise(told):
            if before is Stage.ACCEPTED and after is Stage.CLAIMED:
                # Reopened by a callback, which is told as a callback.
                yield before, Stage.RETRYING
                yield Stage.RETRYING, after
            elif before is not after:
                yield before, after


def stage_told(line: dict[str, Any]) -> Stage | None:
    """The stage a journal line says that its message is in now."""
    match line["e"]:
        case "claimed":
            return Stage.CLAIMED
        case "intent":
            return Stage.POSTING
        case "settled" if line["applied"]:
            return Stage(line["stage"])
        case "ended" | "reaped":
            return Stage(line["stage"])
        case "resolved":
            return Stage(line.get("stage") or Stage.ACCEPTED)
        case _:
            return None
