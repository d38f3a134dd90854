"""`dead show --raw`: the bytes of a dead letter, exactly as they were queued."""

import asyncio
from pathlib import Path
from typing import cast

import pytest

from sendwindow.keys import ARQ_JOB
from tests.conftest import StoreUnderTest
from tests.support.cli_world import command_line
from tests.support.stores_world import DEAD, opened
from worker.cli.exit_codes import Exit
from worker.cli.main import main

PICKLED = b"\x80\x04\x95\xff\n no end of line"


class Raw:
    """Runs commands and returns what they print, as bytes."""

    def __init__(self, config: Path, capture: pytest.CaptureFixture[bytes]) -> None:
        self._config = config
        self._capture = capture

    def __call__(self, *arguments: str) -> tuple[int, bytes, str]:
        """Return the exit code, standard output and standard error."""
        self._capture.readouterr()
        code = main([*arguments, "--config", str(self._config)])
        printed = self._capture.readouterr()
        return code, printed.out, printed.err.decode()


@pytest.fixture
def command(
    store: StoreUnderTest,
    tmp_path: Path,
    capsysbinary: pytest.CaptureFixture[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> Raw:
    capture = cast("pytest.CaptureFixture[str]", capsysbinary)
    return Raw(command_line(store, tmp_path, capture, monkeypatch).config, capsysbinary)


def adopt(store: StoreUnderTest, message_id: str, job: bytes) -> None:
    async def steps() -> None:
        async with opened(store) as world:
            whole = world.keys.job_id(message_id)
            await world.redis.set(ARQ_JOB + whole, job)
            await world.redis.zadd(world.keys.ingress, {whole: 1})
            await world.store.ledger.adopt(10)

    asyncio.run(steps())


def test_the_bytes_of_an_unreadable_job_are_written_as_they_are(
    command: Raw, store: StoreUnderTest
) -> None:
    """The bytes of an unreadable job are written unchanged, with nothing before or after them."""
    adopt(store, "m1", PICKLED)
    assert command("dead", "show", "--raw", "m1") == (Exit.DONE, PICKLED, "")


def test_the_job_of_any_other_dead_letter_is_written_too(
    command: Raw, store: StoreUnderTest
) -> None:
    """The job of any other dead letter is written too: it is what a replay would send."""

    async def steps() -> bytes:
        async with opened(store) as world:
            claimed = await world.post()
            await world.settle(claimed, DEAD)
            assert claimed.payload is not None
            return claimed.payload

    job = asyncio.run(steps())
    assert command("dead", "show", "m1", "--raw") == (Exit.DONE, job, "")


def test_without_bytes_it_says_so(command: Raw, store: StoreUnderTest) -> None:
    """A dropped letter has no bytes: one sentence, exit code 1, and an empty standard output."""
    adopt(store, "m1", PICKLED)
    command("dead", "drop", "m1")
    code, out, err = command("dead", "show", "--raw", "m1")
    assert (code, out) == (Exit.FAILED, b"")
    assert "No bytes of this dead letter are kept." in err
    code, out, err = command("dead", "show", "--raw", "nobody")
    assert (code, out) == (Exit.FAILED, b"")
    assert "There is no such dead letter." in err


def test_bytes_are_no_json(command: Raw) -> None:
    """`--raw` with `--json` is a usage error."""
    assert command("dead", "show", "--raw", "--json", "m1")[0] == Exit.USAGE
