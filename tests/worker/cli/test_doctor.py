"""`doctor`: what it checks, and that it finds what is wrong."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from sandbox.app import running
from sandbox.config import SandboxAccount, SandboxConfig
from tests.conftest import StoreUnderTest
from tests.support.cli_world import SETTINGS, Answer, CommandLine, command_line
from tests.support.stores_world import DEAD, opened
from tests.support.waiting import HANG_SECONDS
from worker.cli.doctor import Finding, Mark, print_findings
from worker.cli.exit_codes import Exit
from worker.cli.output import Output


def findings(command: CommandLine, *arguments: str) -> dict[str, str]:
    """Return the findings by mark and subject."""
    answer = command("doctor", "--json", *arguments)
    return {f"{line['mark']} {line['what']}": line["finding"] for line in answer.objects}


async def used(store: StoreUnderTest) -> None:
    """Open the store as a worker of a sandbox does."""
    async with opened(store):
        pass


def test_a_sound_system_passes_and_old_policy_entries_are_told(command: CommandLine) -> None:
    """A sound system exits with 0, and a rule past its end date is a warning that names the
    setting.
    """
    answer = command("doctor")
    assert answer.code == Exit.DONE
    assert "messenger_account_update" in answer.out
    found = findings(command)
    assert "ok store" in found
    assert found["ok settings"] == "1 account, 3 senders, 1 template"
    assert "ok clock" in found
    assert found["ok no rate limit"] == "other, shop, text"


def test_the_rates_of_many_senders_stay_short(command: CommandLine) -> None:
    """A rate names three of its senders and counts the rest; a sender may have no limit."""
    with command.config.open("a") as file:
        for number in range(5):
            file.write(
                f'[senders.more{number}]\naccount = "main"\n'
                f'address = "whatsapp:+1415555011{number}"\n'
                f"messages_per_second = {80 if number else 0}\n"
            )
    found = findings(command)
    assert found["ok rate 80/s"] == "more1, more2, more3 and 1 more"
    assert found["ok no rate limit"] == "more0, other, shop and 1 more"


def test_what_is_healthy_takes_one_short_line(command: CommandLine) -> None:
    """On a screen of 80 columns every healthy finding takes one line."""
    lines = command("doctor").out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    healthy = [name for name in findings(command) if name.startswith("ok ")]
    starts = [at for at, line in enumerate(lines) if line.startswith("ok ")]
    assert len(starts) == len(healthy) > 0
    assert not [
        lines[at + 1] for at in starts if at + 1 < len(lines) and lines[at + 1].startswith(" ")
    ]


def test_a_long_name_among_the_problems_does_not_widen_what_is_healthy(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is healthy stays one line each, whatever the problems are called."""
    long = f"errors of {'s' * 64}"
    found = [
        Finding(Mark.FINE, "settings", "1 account, 3 senders, 1 template"),
        Finding(Mark.WARNING, long, "one effect waits for an operator"),
        Finding(Mark.FINE, "store", "configured, partition p0, sandbox profile"),
    ]
    print_findings(found, Output())
    assert capsys.readouterr().out.splitlines() == [
        "    what      finding",
        "ok  settings  1 account, 3 senders, 1 template",
        "ok  store     configured, partition p0, sandbox profile",
        "",
        "To look at",
        "         warning",
        "what     errors of",
        f"         {'s' * 64}",
        "finding  one effect waits for an operator",
    ]


def test_what_waits_for_an_operator_is_reported(
    command: CommandLine, store: StoreUnderTest
) -> None:
    """Dead letters are a warning that names the command to list them."""

    async def die() -> None:
        async with opened(store) as world:
            await world.settle(await world.post("one"), DEAD)

    asyncio.run(die())
    assert (
        findings(command)["warning dead"]
        == "1 message waits for an operator: `dead list` shows them"
    )


def test_a_clock_that_is_off_is_reported(command: CommandLine, store: StoreUnderTest) -> None:
    """A store whose clock differs from this machine's by more than two seconds is a warning."""

    async def move() -> None:
        async with opened(store) as world:
            await world.store.set_offset(timedelta(hours=1))

    asyncio.run(move())
    assert "NTP" in findings(command)["warning clock"]


def test_another_person_key_fails_the_check(
    command: CommandLine, store: StoreUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another person key fails the check with a remedy, because it would find no opt-out."""
    asyncio.run(used(store))
    monkeypatch.setenv("TEST_PERSON_KEY", "another person key than before")
    answer = command("doctor")
    assert answer.code == Exit.FAILED
    assert "person_key" in answer.out


def test_a_store_that_does_not_answer_fails_the_check_and_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The finding names the store, the setting that its URL came from, and what to check."""
    config = tmp_path / "sendwindow.toml"
    nowhere = StoreUnderTest(f"unix://{tmp_path}/none.sock", "p0")
    command = command_line(nowhere, tmp_path, capsys, monkeypatch)
    config.write_text(SETTINGS.format(url=nowhere.url, partition="p0"))
    answer = command("doctor", "--json")
    assert answer.code == Exit.FAILED
    assert f"the store at {tmp_path}/none.sock (store.url) has no socket at this path" in answer.out


SID = "AC00000000000000000000000000000001"
TOKEN = "token-of-the-tests"


def live(command: CommandLine, base_url: str, more: str = "") -> Answer:
    """Run `doctor --live` with account main at `base_url`.

    Checks that no secret and no URL is printed, whatever it finds.
    """
    command.config.write_text(
        command.config.read_text().replace("http://127.0.0.1:9810", base_url) + more
    )
    answer = command("doctor", "--live", "--json")
    printed = answer.out + answer.err
    for secret in (TOKEN, b64encode(f"{SID}:{TOKEN}".encode()).decode(), base_url):
        assert secret not in printed
    return answer


async def live_finding(command: CommandLine, base_url: str, more: str = "") -> tuple[int, str, str]:
    """Return exit code, mark and sentence of the account.

    Runs in another thread than the server.
    """
    async with asyncio.timeout(HANG_SECONDS):
        answer = await asyncio.to_thread(live, command, base_url, more)
    [found] = [line for line in answer.objects if line["what"] == "account main"]
    return answer.code, found["mark"], found["finding"]


@asynccontextmanager
async def serving(
    handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """Yield the URL of a local server that takes the place of Twilio."""
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("token", "code", "mark", "words"),
    [
        (TOKEN, Exit.DONE, "ok", "the credentials are good"),
        (
            "another-token",
            Exit.FAILED,
            "FAILED",
            "refuses the credentials (401): check account_sid and auth_token",
        ),
    ],
    ids=["good", "wrong"],
)
async def test_live_tells_good_credentials_from_wrong_ones(
    command: CommandLine, token: str, code: Exit, mark: str, words: str
) -> None:
    """`doctor --live` asks Twilio and sends nothing; refused credentials fail with a remedy."""
    async with running(SandboxConfig(accounts=(SandboxAccount(sid=SID, token=token),))) as (
        url,
        sandbox,
    ):
        found = await live_finding(command, url)
        assert len(sandbox.messages) == 0
    assert found[:2] == (code, mark)
    assert words in found[2]


def test_live_says_that_nothing_listens_at_base_url(
    command: CommandLine, unused_tcp_port: int
) -> None:
    """A refused connection fails the check and names what to check."""
    code, mark, words = asyncio.run(live_finding(command, f"http://127.0.0.1:{unused_tcp_port}"))
    assert (code, mark) == (Exit.FAILED, "FAILED")
    assert "does not answer" in words
    assert "accounts.main.base_url" in words


@pytest.mark.asyncio
async def test_live_does_not_wait_forever(command: CommandLine) -> None:
    """A server that takes the request and never answers is given up after dispatch.read_timeout.

    That is after at most 10 s.
    """

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read()
        finally:
            writer.close()

    async with serving(hang) as url:
        found = await live_finding(command, url, "[dispatch]\nread_timeout = 0.1\n")
    assert found[:2] == (Exit.FAILED, "FAILED")
    assert "does not answer" in found[2]


@pytest.mark.asyncio
async def test_live_takes_no_other_server_for_twilio(command: CommandLine) -> None:
    """A web server without Twilio's API answers 404 to everyone, which proves nothing of
    credentials.
    """

    async def not_found(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            await reader.read()
        finally:
            writer.close()

    async with serving(not_found) as url:
        found = await live_finding(command, url)
    assert found[:2] == (Exit.FAILED, "FAILED")
    assert "accounts.main.base_url" in found[2]


def test_the_sandboxs_store_is_not_for_the_real_twilio(
    command: CommandLine, store: StoreUnderTest
) -> None:
    """A store that a sandbox used is refused as soon as an account is at Twilio.

    Its clock may have been moved.
    """
    asyncio.run(used(store))
    text = command.config.read_text().replace("http://127.0.0.1:9810", "https://api.twilio.com")
    command.config.write_text(text.replace("http://127.0.0.1:8080", "https://hooks.example.com"))
    found = findings(command)["FAILED store"]
    assert "the store's profile is sandbox" in found
    assert "is SENDWINDOW_CONFIG not set?" in found
