"""`doctor`: what it looks at, and that it finds what is wrong."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from tests.conftest import StoreUnderTest
from tests.worker.commands_world import SETTINGS, CommandLine, command_line
from tests.worker.stores_world import DEAD, opened
from worker.commands.exits import Exit


@pytest.fixture
def command(
    store: StoreUnderTest, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> CommandLine:
    return command_line(store, tmp_path, capsys, monkeypatch)


def findings(command: CommandLine, *arguments: str) -> dict[str, str]:
    """What was found, by mark and subject."""
    answer = command("doctor", "--json", *arguments)
    return {f"{line['mark']} {line['what']}": line["finding"] for line in answer.objects}


def test_a_sound_system_passes_and_old_policy_entries_are_told(command: CommandLine) -> None:
    """All is well: exit 0. A rule past its end date is a warning that says what to set."""
    answer = command("doctor")
    assert answer.code == Exit.DONE
    assert "messenger_account_update" in answer.out
    found = findings(command)
    assert "ok store" in found
    assert "ok clock" in found


def test_what_waits_for_a_person_is_told(command: CommandLine, store: StoreUnderTest) -> None:
    """Dead letters are a warning that names the command which lists them."""

    async def die() -> None:
        async with opened(store) as world:
            await world.settle(await world.post("one"), DEAD)

    asyncio.run(die())
    assert "`dead list`" in findings(command)["warning dead"]


def test_a_clock_that_is_off_is_told(command: CommandLine, store: StoreUnderTest) -> None:
    """A store whose clock differs from this machine's by more than two seconds is a warning."""

    async def move() -> None:
        async with opened(store) as world:
            await world.store.set_offset(timedelta(hours=1))

    asyncio.run(move())
    assert "NTP" in findings(command)["warning clock"]


def test_another_person_key_fails_the_check(command: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """With another person key opt-outs would not be found: that is a failure with a remedy."""
    findings(command)
    monkeypatch.setenv("TEST_PERSON_KEY", "another person key than before")
    answer = command("doctor")
    assert answer.code == Exit.FAILED
    assert "person_key" in answer.out


def test_a_store_that_does_not_answer_fails_the_check_without_its_url(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kind of error is told, never the URL, which may hold a password."""
    config = tmp_path / "sendwindow.toml"
    nowhere = StoreUnderTest(f"unix://{tmp_path}/none.sock", "p0")
    command = command_line(nowhere, tmp_path, capsys, monkeypatch)
    config.write_text(SETTINGS.format(url=nowhere.url, partition="p0"))
    answer = command("doctor")
    assert answer.code == Exit.FAILED
    assert "does not answer" in answer.out
    assert "none.sock" not in answer.out


def test_live_asks_about_the_credentials_and_sends_nothing(command: CommandLine) -> None:
    """Where nobody answers at base_url, --live says so and fails."""
    answer = command("doctor", "--live")
    assert answer.code == Exit.FAILED
    assert "account main" in answer.out


def test_the_sandboxs_store_is_not_for_the_real_twilio(command: CommandLine) -> None:
    """A store that a sandbox used, whose clock may be moved, is refused as soon as an account is at Twilio."""
    findings(command)
    text = command.config.read_text().replace("http://127.0.0.1:9810", "https://api.twilio.com")
    command.config.write_text(text.replace("http://127.0.0.1:8080", "https://hooks.example.com"))
    answer = command("doctor")
    assert answer.code == Exit.FAILED
    assert "profile" in answer.out
