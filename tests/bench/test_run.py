"""A whole run: what it measures, what it writes, and what it leaves when it is stopped."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench.__main__ import main, measure
from bench.mock_server import SharedMock
from bench.picture import draw
from bench.registry import ROWS
from bench.row import Row
from bench.row_runner import RowError
from bench.rows import bullmq
from tests.support.waiting import HANG_SECONDS, until


def test_a_run_writes_every_single_run_and_a_picture(tmp_path: Path) -> None:
    """Two rounds of one row have two runs, and the summary is computed from them."""
    rows = [row for row in ROWS if row.name == "raw_loop"]
    report = measure(rows, 2, is_quick=True)
    report.write(tmp_path / "results", draw(report))
    written = json.loads((tmp_path / "results" / "latest.json").read_text())
    cpu = written["rows"]["raw_loop"]["figures"]["cpu"]
    assert len(cpu["runs"]) == 2
    assert cpu["least"] == min(cpu["runs"]) <= cpu["median"] <= cpu["most"] == max(cpu["runs"])
    assert written["rows"]["raw_loop"]["size"] == rows[0].sizes.quick
    assert written["rows"]["raw_loop"]["mock"] == written["options"]["mock"]
    assert written["options"] | {"mock": ""} == {"rounds": 2, "quick": True, "mock": ""}
    assert (tmp_path / "results" / "latest.svg").read_text().startswith("<svg")


def _processes_with(folder: Path) -> list[str]:
    """Return the processes whose folder for temporary files is this one."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"TMPDIR={folder}\0".encode() in (process / "environ").read_bytes():
                found.append(process.name)
    return found


@pytest.mark.asyncio
async def test_a_run_that_is_stopped_leaves_no_process(root: Path, tmp_path: Path) -> None:
    """SIGTERM ends the run, the row, the mock and the store."""
    command = [
        sys.executable,
        "-m",
        "bench",
        "--quick",
        "--rows",
        "raw_loop",
        "--rounds",
        "1000000",
    ]
    process = subprocess.Popen(
        command,
        cwd=root,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "round 1 of 1000000: raw_loop done\n"
    assert _processes_with(tmp_path)
    process.terminate()
    process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == 128 + signal.SIGTERM
    await until(
        lambda: _processes_with(tmp_path),
        "the end of every process of the run",
        holds=lambda found: not found,
    )


def test_a_row_that_fails_does_not_end_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs no more, it has no figures, and the report names it."""
    rows = [row for row in ROWS if row.name in {"raw_loop", "client_loop"}]
    ran = []

    def run(row: Row, _size: int, _mock: SharedMock) -> dict[str, float]:
        ran.append(row.name)
        if row.name == "client_loop" and len(ran) > 2:
            raise RowError("the row client_loop failed")
        return {"cpu": 1.0, "rate": 2.0}

    monkeypatch.setattr("bench.__main__.run_row", run)
    report = measure(rows, 3, is_quick=False)
    assert ran == ["raw_loop", "client_loop", "client_loop", "raw_loop", "raw_loop"]
    assert report.failed == {"client_loop": "the row client_loop failed"}
    assert set(report.measured) == {"raw_loop"}
    assert "client_loop failed." in report.table()


def test_a_row_that_this_machine_cannot_run_is_listed_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without programs on the PATH there is no certificate and no node."""
    monkeypatch.setenv("PATH", str(tmp_path))
    rows = [row for row in ROWS if row.name in {"raw_loop_tls", "bullmq"}]
    report = measure(rows, 1, is_quick=False)
    assert report.not_measured == {
        "raw_loop_tls": "openssl is not on the PATH",
        "bullmq": "node is not on the PATH",
    }
    assert "bullmq was not measured: node is not on the PATH." in report.table()
    assert draw(report).startswith("<svg")


def test_what_npm_installs_is_locked_and_names_no_index() -> None:
    """The lock has the versions of package.json and a checksum each, and no address to fetch."""
    folder = Path(bullmq.__file__).resolve().parent.parent / "bullmq"
    wanted = json.loads((folder / "package.json").read_text())["dependencies"]
    packages = json.loads((folder / "package-lock.json").read_text())["packages"]
    assert packages.pop("")["dependencies"] == wanted
    for name, version in wanted.items():
        assert packages[f"node_modules/{name}"]["version"] == version
    for package in packages.values():
        assert package["integrity"].startswith("sha512-")
        assert "resolved" not in package


@pytest.mark.parametrize(
    "options, complaint",
    [(["--rows", "faster"], "The rows are raw_loop"), (["--rounds", "-1"], "is at least 1")],
)
def test_a_wrong_option_is_a_usage_error(
    options: list[str],
    complaint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The error says what there is, and nothing runs."""
    monkeypatch.setattr(sys, "argv", ["bench", *options])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


def test_the_rows_are_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--list` prints a line for each row."""
    monkeypatch.setattr(sys, "argv", ["bench", "--list"])
    assert main() == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        row.name for row in ROWS
    ]
