"""`sandbox` and `sandbox say`: what they refuse, with the true cause and a remedy."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.app import running
from sandbox.config import SandboxAccount, SandboxConfig
from worker.cli.exit_codes import Exit
from worker.cli.main import main

SETTINGS = """
[accounts.main]
account_sid = "AC00000000000000000000000000000001"
auth_token = "env:TEST_TOKEN"
base_url = "http://127.0.0.1:9810"
[senders.shop]
account = "main"
address = "whatsapp:+14155550100"
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TEST_TOKEN", "token-of-the-tests")
    for name in ("REDIS_URL", "SENDWINDOW_CONFIG", "SENDWINDOW_DATA"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "sendwindow.toml"
    path.write_text(SETTINGS)
    return str(path)


@pytest.fixture
def taken() -> Iterator[int]:
    """Yield a port that another socket already listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("port", ["99999", "65536", "-1", "x", "1.5"])
def test_what_is_no_port_is_a_usage_error(
    config: str, capsys: pytest.CaptureFixture[str], port: str
) -> None:
    """An invalid port is a usage error that names the range, before anything is opened."""
    assert main(["sandbox", f"--port={port}", "--config", config]) == Exit.USAGE
    assert "0 (any free port) to 65535" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "sentence", "remedy"),
    [
        (("--journal", "."), "The journal cannot be written (Is a directory).", "Check its path."),
        (("--host", "no such host"), "no such host is not an address of this machine.", "--host"),
        (("--host", "192.0.2.1"), "192.0.2.1 is not an address of this machine.", "--host"),
    ],
    ids=["journal", "unknown host", "foreign host"],
)
def test_what_is_in_the_way_is_named(
    config: str,
    capsys: pytest.CaptureFixture[str],
    option: tuple[str, str],
    sentence: str,
    remedy: str,
) -> None:
    """A journal or a host that cannot be used is not reported as a port."""
    assert main(["sandbox", "--port", "0", *option, "--config", config]) == Exit.USAGE
    printed = capsys.readouterr().err
    assert printed.startswith(f"error: {sentence}")
    assert remedy in printed
    assert "Port" not in printed


def test_a_port_that_is_taken_is_called_so(
    config: str, capsys: pytest.CaptureFixture[str], taken: int
) -> None:
    """Only for a port in use the remedy is another port."""
    assert main(["sandbox", "--port", str(taken), "--config", config]) == Exit.FAILED
    printed = capsys.readouterr().err
    assert f"Port {taken} cannot be used" in printed
    assert "--port" in printed


@pytest.mark.parametrize(
    "url", ["foo", "localhost:9810", "ftp://localhost", "http://", "http://127.0.0.1:99999"]
)
def test_what_is_no_url_is_called_so(
    config: str, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    """A URL without HTTP is a usage error of `sandbox say`."""
    said = ["say", "--from", "whatsapp:+14155550123", "--to", "shop", "--url", url, "hi"]
    assert main(["sandbox", *said, "--config", config]) == Exit.USAGE
    assert capsys.readouterr().err.startswith(
        "error: --url is not an http URL. Write it as http://127.0.0.1:9810."
    )


@pytest.mark.asyncio
@pytest.mark.parametrize("person", ["zz", "+447700900101"])
async def test_say_shows_why_no_person_writes_from_there(
    config: str, capsys: pytest.CaptureFixture[str], person: str
) -> None:
    """`sandbox say` shows the sandbox's reason and the form to use, but not the address."""
    account = SandboxAccount(
        sid="AC" + "1" * 32, token="t", senders=frozenset({"whatsapp:+14155550100"})
    )
    async with running(SandboxConfig(accounts=(account,))) as (url, _):
        said = [
            "sandbox",
            "say",
            "--from",
            person,
            "--to",
            "shop",
            "--url",
            url,
            "hi",
            "--config",
            config,
        ]
        assert await asyncio.to_thread(main, said) == Exit.FAILED
    printed = capsys.readouterr().err
    assert "The message was not delivered: the sandbox refused" in printed
    assert "whatsapp:+<E.164>" in printed
    assert person not in printed


@pytest.mark.parametrize("to", ["nosuch", "whatsapp:+14155550199"])
def test_say_to_no_sender_lists_the_senders(
    config: str, capsys: pytest.CaptureFixture[str], to: str
) -> None:
    """An unknown sender lists the senders, without a request and without repeating it.

    What was typed there may be a person's address.
    """
    said = [
        "sandbox",
        "say",
        "--from",
        "whatsapp:+14155550123",
        "--to",
        to,
        "hi",
        "--config",
        config,
    ]
    assert main(said) == Exit.USAGE
    printed = capsys.readouterr().err
    assert printed == "error: --to is not a sender in the settings. Give one of: shop.\n"


@pytest.mark.parametrize("url", ["https://api.twilio.com", "https://hooks.example.com"])
def test_settings_of_a_live_account_are_refused(
    config: str, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    """Settings of a live account are refused.

    A sandbox with them would look live, and no message would reach it.
    """
    gateway = '[gateway]\npublic_url = "https://hooks.example.com"\n'
    Path(config).write_text(SETTINGS.replace("http://127.0.0.1:9810", url) + gateway)
    assert main(["sandbox", "--config", config]) == Exit.USAGE
    assert "accounts.main.base_url is not on this machine or network" in capsys.readouterr().err
