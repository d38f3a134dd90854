"""The demo is the main job on real input, and runs here as a newcomer runs it."""

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

from docgen.states import TRANSITIONS
from policies.status import RANKS
from sendwindow.vocabulary import Stage
from tests.support.waiting import HANG_SECONDS
from worker.cli.exit_codes import Exit
from worker.cli.main import main
from worker.telemetry.logs import REMOVED

KNOWN = {(before, after) for before, after, _ in TRANSITIONS}


def environ(folder: Path) -> dict[str, str]:
    """Return an environment with only the caller's PATH, in which the demo writes into `folder`."""
    return {"PATH": os.environ.get("PATH", ""), "TMPDIR": str(folder)}


def demo(root: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "worker", "demo", *arguments]
    return subprocess.run(
        command,
        cwd=root,
        env=environ(folder),
        capture_output=True,
        text=True,
        timeout=3 * HANG_SECONDS,
        check=False,
    )


@dataclass(frozen=True, slots=True)
class Played:
    """The results of a whole demo. `metrics`: the gateway's last ones while it ran."""

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
        command,
        cwd=root,
        env=environ(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
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
    """Return the metrics of the gateway of the demo in `folder`, or nothing while there is none."""
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
    """The demo exits with 0, and every message ends as expected.

    `verify` finds no breach, also once more from the command line, and no process or folder is left
    behind. Every step in the journals is in the drawing of stages.
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


def test_the_demo_leaves_its_story_and_what_to_try_next(
    root: Path,
    played: Played,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    short_path: Path,
) -> None:
    """The output fits 80 columns and ends with ten stories, the result, and commands that run as
    they stand. `demo` itself is what ran.
    """
    lines = played.printed.splitlines()
    assert max(map(len, lines)) <= 80
    parts = [
        lines.index("10 of these messages: what was asked, what was true, what was done"),
        *(at for at, line in enumerate(lines) if " as expected, in " in line),
        lines.index("What to try next"),
    ]
    assert parts == sorted(parts)
    assert sum(line.startswith("  done ") for line in lines[parts[0] : parts[1]]) == 10
    commands = [line.split()[1:] for line in lines[parts[-1] :] if line.startswith("    ./run ")]
    assert [words[0] for words in commands] == ["explain", "demo", "verify"]
    monkeypatch.chdir(root)
    monkeypatch.setenv("SENDWINDOW_DATA", str(short_path / "data"))
    for words in commands:
        if words[0] != "demo":
            kept = [str(played.kept) if word == ".data/demo" else word for word in words]
            assert main(kept) == Exit.DONE, capsys.readouterr()


def test_no_log_and_no_metric_tells_of_a_person(root: Path, played: Played) -> None:
    """No log and no metric holds an address, text or variable, and no line needed scrubbing."""
    logs = {path.name: path.read_text() for path in (played.kept / "logs").glob("*.log")}
    everything = "\n".join([*logs.values(), played.metrics])
    assert everything.count('"event": "attempt"') > 100
    assert "\nsendwindow_callbacks_total{" in played.metrics
    assert REMOVED not in everything
    assert '"removed"' not in everything
    said = "\n".join(
        [leaves(line) for text in logs.values() for line in text.splitlines()] + [played.metrics]
    )
    addresses, words = personal(root / "examples")
    assert {address for address in addresses if address in everything} == set()
    assert {word for word in words if re.search(rf"(?<!\w){re.escape(word)}(?!\w)", said)} == set()


def leaves(line: str) -> str:
    """Return the values of a log line without its instant.

    A line that is no JSON is returned whole.
    """
    try:
        fields = json.loads(line)
    except ValueError:
        return line
    return "\n".join(str(value) for name, value in fields.items() if name != "at")


def personal(examples: Path) -> tuple[set[str], set[str]]:
    """Return what must not appear: the examples' addresses without channel and sign, and their
    texts.

    Left out are texts of one or two characters, which appear everywhere, and Sendwindow's own
    words.
    """
    addresses, texts = set(), set()
    for name in ("messages.jsonl", "people.jsonl"):
        for line in (examples / name).read_text().splitlines():
            row = json.loads(line)
            message = row.get("message", {})
            addresses |= {row.get("address"), message.get("to")}
            content = [
                message.get("freeform"),
                (message.get("template") or {}).get("variables"),
                {"": row.get("body")},
            ]
            texts |= {
                str(text) for part in content if isinstance(part, dict) for text in part.values()
            }
    own = {"none", "stop", "start", *RANKS}
    bare = {address.rpartition(":")[2].removeprefix("+") for address in addresses if address}
    return bare, {text for text in texts if len(text) > 2 and text.casefold() not in own}


def test_a_deviation_is_shown_with_its_trace_and_fails(root: Path, tmp_path: Path) -> None:
    """A deviation exits with 1 and shows the message with every rule that was evaluated."""
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
    """Yield a folder with a path short enough for a store's socket."""
    return tmp_path_factory.mktemp("d")


@contextmanager
def playing(root: Path, folder: Path, first: str, *through: str) -> Iterator[subprocess.Popen[str]]:
    """Yield a demo that has printed a line with `first` in it, and leave none of its processes
    behind.
    """
    command = [*through, sys.executable, "-u", "-m", "worker", "demo"]
    with subprocess.Popen(
        command,
        cwd=root,
        env=environ(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            # On a loaded machine the demo may have ended when a later line is read.
            assert any(first in line for line in process.stdout)
            yield process
            assert leftovers(folder) == []
            assert not list(folder.iterdir())
        finally:
            process.kill()


def leftovers(folder: Path) -> list[str]:
    """Return the processes whose command line or environment names a folder, as the demo's own
    do.
    """
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (process / "cmdline").read_bytes()
            if str(folder).encode() in command + (process / "environ").read_bytes():
                found.append(command.replace(b"\0", b" ").decode())
    return found


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)]
)
@pytest.mark.parametrize(
    "first", ["played over a day", "accepted"], ids=["at the start", "in the middle"]
)
def test_an_interrupted_demo_cleans_up(
    root: Path, short_path: Path, number: signal.Signals, first: str
) -> None:
    """Ctrl-C or SIGTERM gives exit 130, and every process and the store's folder are gone."""
    with playing(root, short_path, first) as process:
        process.send_signal(number)
        _, printed = process.communicate(timeout=HANG_SECONDS)
        assert (process.returncode, printed) == (Exit.INTERRUPTED, "")


@pytest.mark.long
def test_an_impatient_person_does_not_cut_the_clean_up_short(root: Path, short_path: Path) -> None:
    """A second signal while the demo stops changes nothing: it ends soon and leaves nothing
    behind.
    """
    with playing(root, short_path, "accepted") as process:
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        _, printed = process.communicate(timeout=HANG_SECONDS)
        assert (process.returncode, printed) == (Exit.INTERRUPTED, "")


@pytest.mark.long
def test_a_demo_in_the_background_of_a_script_can_be_stopped(root: Path, short_path: Path) -> None:
    """SIGTERM ends a demo in the background of a script, where the shell lets it ignore SIGINT."""
    with playing(
        root, short_path, "accepted", "sh", "-c", 'trap "" INT; exec "$@"', "sh"
    ) as process:
        process.send_signal(signal.SIGTERM)
        _, printed = process.communicate(timeout=HANG_SECONDS)
        assert (process.returncode, printed) == (Exit.INTERRUPTED, "")


@pytest.mark.long
def test_a_demo_whose_reader_goes_away_cleans_up(root: Path, short_path: Path) -> None:
    """A demo whose reader goes away, as in `./run demo | head -1`, ends with its own code and
    leaves nothing. There is no stack trace.
    """
    with playing(root, short_path, "played over a day") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
        assert process.wait(HANG_SECONDS) == Exit.OUTPUT_CLOSED


def test_a_demo_without_settings_leaves_no_folder(root: Path, short_path: Path) -> None:
    """An incomplete folder of examples is a usage error that leaves nothing behind."""
    examples, made = short_path / "examples", short_path / "made"
    examples.mkdir()
    made.mkdir()
    for name in ("messages.jsonl", "people.jsonl"):
        (examples / name).write_text("")
    played = demo(root, made, "--examples", str(examples))
    assert played.returncode == Exit.USAGE, played.stderr
    assert not list(made.iterdir())


def steps(journals: Iterable[Path]) -> Iterable[tuple[Stage, Stage]]:
    """Return the steps of every message that one process journaled, and claimed once at most.

    Two processes write their lines in any order, and so does one that claims a message twice.
    """
    told: dict[str, list[tuple[float, Path, Stage]]] = {}
    for path in journals:
        for line in map(json.loads, path.read_text().splitlines()):
            stage = stage_told(line)
            if stage is not None and line.get("id"):
                told.setdefault(line["id"], []).append((float(line["t"]), path, stage))
    for lines in told.values():
        stages = [stage for _, _, stage in sorted(lines, key=lambda line: line[0])]
        if stages.count(Stage.CLAIMED) <= 1 and len({path for _, path, _ in lines}) == 1:
            yield from (step for step in pairwise([Stage.QUEUED, *stages]) if step[0] != step[1])


def stage_told(line: dict[str, Any]) -> Stage | None:
    """Return the stage that a journal line gives its message."""
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


def test_steps_are_read_only_where_one_process_wrote_them(tmp_path: Path) -> None:
    """A line that another process wrote first does not make a step that nothing took.

    The producer cancels a claimed message, and its line comes before the worker's. A callback
    proves an attempt, and the gateway's line comes before the worker's.
    """
    lines: dict[str, list[tuple[str, str, dict[str, Any], int]]] = {
        "producer": [("ended", "cancelled", {"stage": "cancelled"}, 1)],
        "gateway": [("resolved", "proven", {}, 2)],
        "worker": [
            ("claimed", "cancelled", {}, 2),
            ("claimed", "proven", {}, 1),
            ("settled", "proven", {"applied": True, "stage": "unknown"}, 3),
            ("claimed", "sent", {}, 1),
            ("intent", "sent", {}, 2),
            ("settled", "sent", {"applied": True, "stage": "accepted"}, 3),
        ],
    }
    for name, written in lines.items():
        (tmp_path / f"{name}.jsonl").write_text(
            "".join(
                json.dumps({"t": at, "e": event, "id": message_id, **more}) + "\n"
                for event, message_id, more, at in written
            )
        )
    assert list(steps(tmp_path.glob("*.jsonl"))) == [
        (Stage.QUEUED, Stage.CLAIMED),
        (Stage.CLAIMED, Stage.POSTING),
        (Stage.POSTING, Stage.ACCEPTED),
    ]
