"""Commands that only read leave a store as they found it, even a new one."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.sentinel import StoreServer, one_server
from tests.conftest import StoreUnderTest
from tests.support.cast import ANNA
from tests.support.cli_world import CommandLine, command_line
from worker.cli.exit_codes import Exit

MESSAGE = {
    "to": ANNA,
    "sender": "shop",
    "purpose": "utility",
    "freeform": {"body": "Your bread is ready."},
}

READING = {
    "explain": (("explain", json.dumps(MESSAGE)), Exit.DONE),
    "doctor": (("doctor",), Exit.DONE),
    "show": (("show", "one"), Exit.FAILED),
    "contact": (("contact", ANNA), Exit.DONE),
    "dead list": (("dead", "list"), Exit.DONE),
    "dead show": (("dead", "show", "one"), Exit.FAILED),
    "unknown list": (("unknown", "list"), Exit.DONE),
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StoreServer]:
    """Yield a new, unused store server."""
    with one_server(tmp_path / "server") as running:
        yield running


@pytest.fixture
def command(
    server: StoreServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> CommandLine:
    return command_line(StoreUnderTest(server.url, "p0"), tmp_path, capsys, monkeypatch)


@pytest.mark.parametrize("name", READING)
def test_a_reading_command_writes_no_key(
    command: CommandLine, server: StoreServer, name: str
) -> None:
    """Every command that only reads works on a new store, and the store stays empty."""
    arguments, code = READING[name]
    answer = command(*arguments)
    assert (answer.code, "person_key" in answer.err) == (code, False)
    assert server.ask("KEYS", "*") == []


NEEDS_CREDENTIALS = {"doctor"}
"""It checks that they are there."""

DECIDING = {
    "suspected list": (("consent", "suspected"), Exit.DONE),
    "suspected confirm": (("consent", "suspected", "--confirm", ANNA), Exit.FAILED),
    "retry": (("retry", "--all"), Exit.DONE),
    "templates list": (("templates", "list"), Exit.DONE),
    "tags list": (("tags", "list"), Exit.DONE),
}


@pytest.mark.parametrize("name", [*sorted(READING.keys() - NEEDS_CREDENTIALS), *DECIDING])
def test_a_command_that_calls_no_provider_needs_no_secret_of_it(
    command: CommandLine, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A command that does not call Twilio needs no token, so an operator without one can use it."""
    monkeypatch.delenv("TEST_TOKEN")
    arguments, code = (READING | DECIDING)[name]
    answer = command(*arguments)
    assert answer.code == code, answer.err


def test_a_wrong_key_in_a_first_question_locks_no_process_out(
    command: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading with a wrong person key does not bind the store to that key.

    The store takes the key of the first command that writes into it.
    """
    with monkeypatch.context() as wrong:
        wrong.setenv("TEST_PERSON_KEY", "a key that somebody mistyped")
        assert command("explain", json.dumps(MESSAGE)).code == Exit.DONE
    assert command("consent", "grant", ANNA, "--purpose", "utility").code == Exit.DONE
    monkeypatch.setenv("TEST_PERSON_KEY", "a key that somebody mistyped")
    for arguments, _ in (READING["explain"], READING["show"]):
        answer = command(*arguments)
        assert answer.code == Exit.USAGE
        assert "store.person_key" in answer.err
