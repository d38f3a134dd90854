"""What all commands share: their place in the command line, their errors, their exit codes."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.conftest import StoreUnderTest
from tests.support.cli_world import SETTINGS
from worker.cli.exit_codes import Exit
from worker.cli.main import COMMANDS, main, parser


def test_every_command_is_listed_and_describes_itself(capsys: pytest.CaptureFixture[str]) -> None:
    """`--help` lists every command, and each command has its own help and a function to run."""
    assert main(["--help"]) == Exit.DONE
    shown = capsys.readouterr().out
    for name in COMMANDS:
        assert re.search(rf"^    {name}\s", shown, re.MULTILINE)
        assert main([name, "--help"]) == Exit.DONE
        assert "--config FILE" in capsys.readouterr().out


def test_the_version_is_the_projects(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line and exit code 0, as with any other program."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert main(["--version"]) == Exit.DONE
    assert capsys.readouterr().out == f"sendwindow {project['version']}\n"


def test_help_loads_neither_redis_nor_aiohttp(root: Path) -> None:
    """The parser of a command imports only what the command needs, so that help and errors come at
    once.
    """
    check = (
        "import sys; from worker.cli.main import main; main(['--help']); print(sorted(sys.modules))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", check], cwd=root, capture_output=True, text=True, check=True
    ).stdout
    loaded = printed.splitlines()[-1]
    for heavy in ("redis", "aiohttp", "pydantic", "rich", "structlog"):
        assert f"'{heavy}'" not in loaded


@pytest.mark.parametrize(
    "arguments",
    [[], ["nonsense"], ["show"], ["dead"], ["dead", "forget"], ["up", "--workers", "x"]],
)
def test_a_wrong_command_line_is_a_usage_error(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A command line that cannot be parsed exits with 2 and one sentence about the fault."""
    assert main(arguments) == Exit.USAGE
    assert "error: " in capsys.readouterr().err


def test_faulty_settings_are_reported_one_by_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every fault in the settings is listed with file, key and remedy, and the exit code is 2."""
    monkeypatch.delenv("REDIS_URL", raising=False)
    config = tmp_path / "sendwindow.toml"
    config.write_text('[store]\npartition = "P 0"\n[gateway]\nport = 99999\n')
    assert main(["doctor", "--config", str(config)]) == Exit.USAGE
    printed = capsys.readouterr().err
    assert "2 faults" in printed
    assert "store.partition" in printed
    assert "gateway.port" in printed


def test_an_unreachable_store_is_named_without_its_password(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that does not answer exits with 3 after a bounded time, named without its
    password.
    """
    monkeypatch.setenv("NOWHERE", f"unix://:hunter2@{tmp_path}/none.sock")
    monkeypatch.setenv("KEY", "a person key of the tests")
    config = tmp_path / "sendwindow.toml"
    config.write_text('[store]\nurl = "env:NOWHERE"\nperson_key = "env:KEY"\n')
    assert main(["show", "one", "--config", str(config)]) == Exit.STORE_UNREACHABLE
    printed = capsys.readouterr().err
    assert printed.splitlines()[-1].startswith(
        f"error: the store at {tmp_path}/none.sock (store.url) "
    )
    assert "hunter2" not in printed


def test_config_may_stand_in_any_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--config` works before the command, after it, and after its second word."""
    name = str(tmp_path / "none.toml")
    for arguments in (
        ["--config", name, "dead", "list"],
        ["dead", "--config", name, "list"],
        ["dead", "list", "--config", name],
    ):
        assert main(arguments) == Exit.USAGE
        assert "none.toml: file: cannot be read" in capsys.readouterr().err


def test_every_exit_code_is_explained() -> None:
    """The table of exit codes in docs/commands.md has a meaning for each."""
    assert all(code.meaning for code in Exit)
    assert len({code.meaning for code in Exit}) == len(Exit)


def test_stopped_in_order_does_not_claim_that_nothing_was_open() -> None:
    """A grace period that ends with an open POST exits with 0 too.

    The meaning of that code says what becomes of the POST.
    """
    assert "`dispatch.grace_seconds`" in Exit.DONE.meaning
    assert "unknown" in Exit.DONE.meaning


def test_only_the_command_named_gets_its_arguments() -> None:
    """Parsing a command builds only that command's arguments."""
    assert parser("show").parse_args(["show", "one"]).message_id == "one"


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "arguments",
    [["dead", "list"], ["unknown", "list"], ["doctor"], ["doctor", "--json"]],
    ids=" ".join,
)
def test_a_reader_who_went_away_is_no_stack_trace(
    store: StoreUnderTest, root: Path, tmp_path: Path, arguments: list[str], unbuffered: str
) -> None:
    """If its reader closes the output (as `| head -1` does), a command ends quietly with its own
    code.
    """
    (tmp_path / "sendwindow.toml").write_text(
        SETTINGS.format(url=store.url, partition=store.partition)
    )
    environ = {
        "PYTHONPATH": str(root),
        "PYTHONUNBUFFERED": unbuffered,
        "TEST_PERSON_KEY": "k" * 32,
        "TEST_TOKEN": "t",
    }
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "worker", *arguments]
    with os.fdopen(writing, "wb") as closed:
        answer = subprocess.run(
            command,
            cwd=tmp_path,
            env=environ,
            stdout=closed,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    assert (answer.returncode, answer.stderr) == (Exit.OUTPUT_CLOSED, b"")
