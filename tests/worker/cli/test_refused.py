"""What a command cannot use: settings, folder, store, input, output.

Each has its sentence and code.
"""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from sendwindow.producer import Producer
from tests.chaos.sentinel import StoreServer, one_server
from tests.conftest import StoreUnderTest
from tests.support import warm_start
from tests.support.cast import ANNA
from tests.support.cli_world import GOOD, SETTINGS, command_line
from worker.cli.exit_codes import Exit
from worker.cli.main import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a folder without settings; the embedded store would be in `data`."""
    for name in ("REDIS_URL", "SENDWINDOW_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SENDWINDOW_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


# -- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["run", "serve", "up"])
def test_a_service_without_accounts_does_not_start(root: Path, tmp_path: Path, word: str) -> None:
    """A service without accounts does not start and creates no files.

    A worker started in the wrong folder would otherwise refuse all waiting messages for good.
    """
    assert started(word, root, tmp_path) == (
        Exit.USAGE,
        (
            "error: The settings name no account. Copy examples/sendwindow.toml, "
            "or name it with --config.\n"
        ),
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "word, setting", [("run", "dispatch.health_port"), ("serve", "gateway.port")]
)
def test_what_never_started_has_not_stopped(
    store: StoreUnderTest, root: Path, tmp_path: Path, word: str, setting: str
) -> None:
    """A service that could not start prints one sentence with the reason.

    A log of its stop would send the operator looking for a start.
    """
    (tmp_path / "sendwindow.toml").write_text(
        SETTINGS.format(url=store.url, partition=store.partition)
    )
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        variable = f"SENDWINDOW_{setting.replace('.', '_').upper()}"
        code, said = started(word, root, tmp_path, **{variable: str(port)})
    assert code == Exit.FAILED
    assert re.fullmatch(
        rf"error: Cannot listen on 127.0.0.1:{port} .* Set {re.escape(setting)}\.\n", said
    )


def started(word: str, root: Path, folder: Path, **environ: str) -> tuple[int, str]:
    """Start a service in its own process, and return its exit code and standard error.

    Its logs belong to the whole process.
    """
    known = {"PYTHONPATH": str(root), "TEST_PERSON_KEY": "k" * 32, "TEST_TOKEN": "t"}
    answer = warm_start.run("worker", [word], cwd=folder, environ=known | environ)
    return answer.returncode, answer.stderr


# -- the folder of the embedded store ------------------------------------------------------------


def test_a_folder_that_cannot_be_made_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The remedy names a store or another folder. root may write nearly everywhere, but not
    here.
    """
    monkeypatch.setenv("SENDWINDOW_DATA", "/proc/nope")
    said = (
        "No store URL is set, and /proc/nope cannot be written (No such file or directory). "
        "Set store.url, or SENDWINDOW_DATA to a folder of your own."
    )
    assert main(["show", "one"]) == Exit.USAGE
    assert capsys.readouterr().err == f"error: {said}\n"
    assert main(["doctor", "--json"]) == Exit.FAILED
    found = [json.loads(line)["finding"] for line in capsys.readouterr().out.splitlines()]
    assert found[-1] == said


def test_a_person_key_that_was_cut_short_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A shortened person key is refused, because no person would be found under it."""
    (folder / "data").mkdir()
    (folder / "data" / "person.key").write_text("abc\n")
    assert main(["show", "one"]) == Exit.USAGE
    said = capsys.readouterr().err
    assert said.startswith(f"error: {folder}/data/person.key has fewer than 16 bytes")
    assert "SENDWINDOW_DATA" in said


# -- the store -----------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StoreServer]:
    with one_server(tmp_path / "server") as running:
        yield running


@pytest.mark.parametrize(
    ("user", "database", "said"),
    [
        (
            "nobody:hunter2@",
            0,
            (
                " (store.url) refuses user or password (WRONGPASS); "
                "correct user and password in the URL"
            ),
        ),
        (
            "",
            99,
            " (store.url) has no database of this number (DBINDEX); correct the number at the end",
        ),
    ],
    ids=["password", "database"],
)
def test_what_the_store_says_no_to_is_told(
    server: StoreServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    user: str,
    database: int,
    said: str,
) -> None:
    """An error that the store returns is not reported as an outage, and the URL is not repeated."""
    command = command_line(StoreUnderTest("env:TEST_URL", "p0"), tmp_path, capsys, monkeypatch)
    monkeypatch.setenv("TEST_URL", f"redis://{user}127.0.0.1:{server.port}/{database}")
    shown, looked = command("show", "one"), command("doctor", "--json")
    assert shown.code == Exit.STORE_UNREACHABLE
    said = f"the store at 127.0.0.1:{server.port}{said}"
    assert shown.err.startswith(f"error: {said}")
    assert looked.code == Exit.FAILED
    assert any(line["finding"].startswith(said) for line in looked.objects)
    assert "hunter2" not in shown.err + looked.out


def test_a_file_for_a_store_that_is_away_has_one_remedy(
    server: StoreServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """When the store does not answer, the error tells the operator to send the file again.

    It does not mention objects of the library.
    """
    command = command_line(StoreUnderTest(server.url, "p0"), tmp_path, capsys, monkeypatch)
    monkeypatch.setattr("worker.wiring.Producer", partial(Producer, timeout=0.2))
    (tmp_path / "m.jsonl").write_text(json.dumps(GOOD))
    server.kill()
    answer = command("send", str(tmp_path / "m.jsonl"))
    assert answer.code == Exit.STORE_UNREACHABLE
    assert answer.err.startswith("error: No answer within ")
    assert answer.err.endswith(
        "then send the file again. Messages with a message_id of their own are not queued twice.\n"
    )
    assert answer.err.lower().count("again") == 1


# -- input and output ----------------------------------------------------------------------------


def typed(store: StoreUnderTest, root: Path, folder: Path, line: str) -> tuple[int, str]:
    """Run `python -m worker` with `line` in a shell, and return its exit code and standard
    error.
    """
    (folder / "sendwindow.toml").write_text(
        SETTINGS.format(url=store.url, partition=store.partition)
    )
    environ = {
        "PYTHONPATH": str(root),
        "PATH": os.environ["PATH"],
        "TEST_PERSON_KEY": "k" * 32,
        "TEST_TOKEN": "t",
    }
    # Only a shell closes a stream as an operator would.
    answer = subprocess.run(
        ["/bin/sh", "-c", f"{sys.executable} -m worker {line}"],
        cwd=folder,
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    return answer.returncode, answer.stderr.decode()


@pytest.mark.parametrize("words", ["send", "explain", "consent grant"])
def test_closed_standard_input_is_reported(
    store: StoreUnderTest, root: Path, tmp_path: Path, words: str
) -> None:
    """A closed standard input, as a service manager may leave it, is reported: there is nothing
    to read.
    """
    assert typed(store, root, tmp_path, f"{words} - <&-") == (
        Exit.USAGE,
        "error: Standard input is closed. Give it the lines, or name a file.\n",
    )


@pytest.mark.parametrize(
    "line", ["dead list", f"contact {ANNA}", f"contact {ANNA} --json", "--version"]
)
@pytest.mark.parametrize(
    ("where", "why"),
    [(">&-", "standard output is closed"), (">/dev/full", "No space left on device")],
    ids=["closed", "full"],
)
def test_an_answer_that_cannot_be_written_is_reported(
    store: StoreUnderTest, root: Path, tmp_path: Path, line: str, where: str, why: str
) -> None:
    """An answer that cannot be written gives no stack trace, and another exit code than an
    answer.
    """
    assert typed(store, root, tmp_path, f"{line} {where}") == (
        Exit.OUTPUT_CLOSED,
        f"error: The output cannot be written ({why}). Send it somewhere else.\n",
    )
