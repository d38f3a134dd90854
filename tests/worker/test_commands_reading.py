"""Commands that only ask leave a store as they found it, also one that is truly new."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.sentinel import StoreServer, one_server
from tests.conftest import StoreUnderTest
from tests.worker.commands_world import CommandLine, command_line
from tests.worker.stores_world import ANNA
from worker.commands.exits import Exit

MESSAGE = {"to": ANNA, "sender": "shop", "purpose": "utility", "freeform": {"body": "Your bread is ready."}}

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
    """A store server that nobody has used."""
    with one_server(tmp_path / "server") as running:
        yield running


@pytest.fixture
def command(
    server: StoreServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> CommandLine:
    return command_line(StoreUnderTest(server.url, "p0"), tmp_path, capsys, monkeypatch)


@pytest.mark.parametrize("name", READING)
def test_a_reading_command_writes_no_key(command: CommandLine, server: StoreServer, name: str) -> None:
    """Every command that only asks works on a new store, and the store stays empty."""
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
    """An operator's shell that has no token can ask and decide."""
    monkeypatch.delenv("TEST_TOKEN")
    arguments, code = (READING | DECIDING)[name]
    answer = command(*arguments)
    assert answer.code == code, answer.err


def test_a_wrong_key_in_a_first_question_locks_nobody_out(
    command: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks first may have the wrong key; the store belongs to the key of whoever first writes into it."""
    with monkeypatch.context() as wrong:
        wrong.setenv("TEST_PERSON_KEY", "a key that somebody mistyped")
        assert command("explain", json.dumps(MESSAGE)).code == Exit.DONE
    assert command("consent", "grant", ANNA, "--purpose", "utility").code == Exit.DONE
    monkeypatch.setenv("TEST_PERSON_KEY", "a key that somebody mistyped")
    for arguments, _ in (READING["explain"], READING["show"]):
        answer = command(*arguments)
        assert answer.code == Exit.USAGE
        assert "store.person_key" in answer.err
