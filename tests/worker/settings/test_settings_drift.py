"""Commands report where the settings file differs from the settings that processes started with."""

import asyncio
import json
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import StoreUnderTest
from tests.support.cli_world import command_line
from tests.support.pipeline_world import settings_for
from tests.support.processes_world import report_of
from tests.support.settings_examples import parse
from tests.support.stores_world import opened
from worker.cli.exit_codes import Exit
from worker.cli.main import main
from worker.settings.reader import UNREAD, SettingsError
from worker.settings.schema import GuardSettings
from worker.settings.settings import Settings
from worker.wiring import read_settings, settings_digests, store_settings

MINIMAL = """
[accounts.main]
account_sid = "AC00000000000000000000000000000001"
auth_token = "env:TOKEN_THAT_IS_NOWHERE"
base_url = "http://127.0.0.1:1"
"""


def told(answer: str) -> list[str]:
    """Return what `doctor --json` found about processes."""
    found = [json.loads(line) for line in answer.splitlines()]
    return [f"{one['mark']}: {one['finding']}" for one in found if one["what"] == "processes"]


@pytest.mark.asyncio
async def test_a_process_is_listed_until_it_ends(store: StoreUnderTest) -> None:
    """A process is listed while it reports every few seconds.

    It is gone at once after an orderly stop, and soon after a crash.
    """
    async with opened(store) as world:
        assert await world.store.processes.living() == []
        await world.store.processes.report(report_of(settings={"senders": "one"}))
        (living,) = await world.store.processes.living()
        assert (living.role, living.differs_in({"senders": "one"})) == ("worker", [])
        assert living.differs_in({"senders": "two"}) == ["senders"]
        assert living.differs_in({"templates": "any"}) == []
        assert 0 < await world.redis.pttl(world.keys.process(living.process_id)) <= 30_000
        await world.store.processes.forget()
        assert await world.store.processes.living() == []


def test_digests_tell_settings_apart_and_no_secret_counts() -> None:
    """Another guard changes the digest of the settings.

    Another password or order of a table does not.
    """
    settings = replace(
        settings_for("http://127.0.0.1:1"), guards=GuardSettings(allow_recipients=("+14155550123",))
    )
    digests = settings_digests(settings)
    other = replace(settings, guards=GuardSettings(allow_recipients=("+14155550124",)))
    assert [
        name for name, digest in settings_digests(other).items() if digest != digests[name]
    ] == ["guards"]
    rotated = {name: replace(one, password="another") for name, one in settings.accounts.items()}
    assert settings_digests(replace(settings, accounts=rotated)) == digests
    turned = dict(reversed(list(settings.senders.items())))
    assert settings_digests(replace(settings, senders=turned)) == digests
    keyed = replace(
        settings, store=replace(settings.store, person_key="another key of 32 characters ....")
    )
    assert not set(settings_digests(keyed).values()) & set(digests.values())


def test_processes_at_an_embedded_store_have_the_settings_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command without a person key in its settings takes the key of the embedded store, and the
    port of the health endpoints decides nothing that goes out: `up` sets another one.
    """
    monkeypatch.setenv("SENDWINDOW_DATA", str(tmp_path))
    monkeypatch.delenv("REDIS_URL", raising=False)
    settings = settings_for("http://127.0.0.1:1")
    with store_settings(settings, announce=lambda _: None) as complete:
        assert complete.store.person_key is not None
        dispatch = replace(complete.dispatch, health_port=8090, health_host="127.0.0.2")
        running = settings_digests(replace(complete, dispatch=dispatch))
        assert settings_digests(settings) == running
        assert settings_digests(settings_for("http://127.0.0.1:1", slots=3)) != running


@pytest.mark.parametrize("section", ["templates", "guards"])
def test_doctor_and_explain_say_that_a_restart_is_needed(
    store: StoreUnderTest,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    section: str,
) -> None:
    """`doctor` and `explain` ask for a restart if the file was edited after the workers read it."""
    command = command_line(store, tmp_path, capsys, monkeypatch)
    assert told(command("doctor", "--json").out) == ["ok: none is running"]
    settings = read_settings(str(tmp_path / "sendwindow.toml"))

    async def note(digests: dict[str, str]) -> None:
        async with opened(store) as world:
            await world.store.processes.report(report_of(settings=digests))

    asyncio.run(note(settings_digests(settings)))
    assert told(command("doctor", "--json").out) == ["ok: 1 worker, with these settings"]
    asyncio.run(note(settings_digests(settings) | {section: "0" * 16}))
    words = f"1 process runs with other settings than this file in [{section}]: restart what runs"
    assert told(command("doctor", "--json").out) == [f"warning: {words}"]
    message = {
        "to": "+14155550123",
        "sender": "shop",
        "purpose": "reply",
        "freeform": {"body": "x"},
    }
    answer = command("explain", json.dumps(message), "--json")
    assert f"note: {words}; this explanation uses the file\n" in answer.err


def test_what_only_asks_the_store_needs_no_secret_of_twilio(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that only reads the store needs no secret of Twilio.

    An on-call engineer has the store's secrets only; a worker still refuses to start.
    """
    monkeypatch.chdir(tmp_path)
    for name in ("REDIS_URL", "SENDWINDOW_CONFIG", "SENDWINDOW_DATA"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "sendwindow.toml").write_text(MINIMAL)
    assert main(["show", "one"]) == Exit.FAILED
    said = capsys.readouterr().err
    assert said.startswith(
        f"note: no store URL is set, so this uses the embedded store in {tmp_path}/.data "
    )
    for arguments in (
        ["dead", "list"],
        ["unknown", "list"],
        ["resume", "main"],
        ["contact", "+14155550123"],
    ):
        assert main(arguments) != Exit.USAGE
        assert "TOKEN_THAT_IS_NOWHERE" not in capsys.readouterr().err
    assert main(["run"]) == Exit.USAGE
    assert "TOKEN_THAT_IS_NOWHERE" in capsys.readouterr().err


def read(text: str, **environ: str) -> Settings:
    """Read settings as a command without credentials does."""
    return parse(tomllib.loads(text), environ, with_credentials=False)


def test_a_secret_written_openly_is_a_fault_for_every_command() -> None:
    """A literal secret is a fault for every command.

    Only an account's reference to a missing variable is passed over.
    """
    assert read(MINIMAL).accounts["main"].password == UNREAD
    assert read(MINIMAL, TOKEN_THAT_IS_NOWHERE="here").accounts["main"].password == "here"
    with pytest.raises(SettingsError, match="must not be written here"):
        read(MINIMAL.replace("env:TOKEN_THAT_IS_NOWHERE", "open"))
    with pytest.raises(SettingsError, match="person_key"):
        read(MINIMAL + '[store]\nperson_key = "env:KEY_THAT_IS_NOWHERE"\n')
    files = MINIMAL.replace("env:TOKEN_THAT_IS_NOWHERE", "file:nowhere")
    assert read(files + 'webhook_tokens = ["file:nowhere"]').accounts["main"].webhook_tokens == (
        UNREAD,
    )


def test_send_without_accounts_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`send` without accounts is refused, because in the wrong folder it would queue into a new
    private store.
    """
    monkeypatch.chdir(tmp_path)
    for name in ("REDIS_URL", "SENDWINDOW_CONFIG", "SENDWINDOW_DATA"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "messages.jsonl").write_text("{}\n")
    assert main(["send", "messages.jsonl"]) == Exit.USAGE
    assert "The settings name no account." in capsys.readouterr().err
    assert not (tmp_path / ".data").exists()
