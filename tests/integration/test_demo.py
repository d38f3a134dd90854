"""The demo is the main job on real input: it runs here as a newcomer would run it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from sendwindow.vocabulary import Stage
from tests.integration.house import HANG_SECONDS
from worker.commands.exits import Exit
from worker.commands.line import main
from worker.commands.states import TRANSITIONS

KNOWN = {(before, after) for before, after, _ in TRANSITIONS}


def environ(folder: Path) -> dict[str, str]:
    """Nothing of the caller's but the PATH; what the demo makes goes into `folder`."""
    return {"PATH": os.environ.get("PATH", ""), "TMPDIR": str(folder)}


def demo(root: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "worker", "demo", *arguments]
    return subprocess.run(
        command, cwd=root, env=environ(folder), capture_output=True, text=True, timeout=3 * HANG_SECONDS, check=False
    )


def test_the_demo_comes_out_as_written_beside_each_message(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 0: every message ended as expected, verify refutes nothing, and no process or folder is left behind.

    Its journals satisfy `verify` once more from the command line, and every step in them is in the drawing of stages.
    """
    kept = tmp_path / "journals"
    played = demo(root, tmp_path, "--keep", str(kept))
    assert played.returncode == Exit.DONE, played.stdout[-4000:] + played.stderr[-2000:]
    total = len((root / "examples/messages.jsonl").read_text().splitlines())
    assert f"{total} of {total} as expected" in played.stdout
    assert "verify: nothing broken (P1, P2, P3, P4, requests kept)" in played.stdout
    assert not list(tmp_path.glob("sendwindow-demo-*"))
    assert main(["verify", "--journal", str(kept), "--open", "unresolved"]) == Exit.DONE
    assert "nothing broken" in capsys.readouterr().out
    unknown = set(steps(kept.glob("*.jsonl"))) - KNOWN
    assert unknown == set()


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


def test_an_interrupted_demo_cleans_up(root: Path, tmp_path: Path) -> None:
    """Ctrl-C in the middle: exit 130, every process ends and the folder with the store is gone."""
    command = [sys.executable, "-u", "-m", "worker", "demo"]
    playing = subprocess.Popen(
        command, cwd=root, env=environ(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert playing.stdout is not None
        # The first line: a loaded machine may be done by the time a later one is read.
        assert playing.stdout.readline()
        playing.send_signal(signal.SIGINT)
        _, printed = playing.communicate(timeout=HANG_SECONDS)
        assert playing.returncode == Exit.INTERRUPTED, printed
        assert not list(tmp_path.glob("sendwindow-demo-*"))
    finally:
        playing.kill()
        playing.wait()


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
