"""What the tests of commands share."""

from pathlib import Path

import pytest

from tests.conftest import StoreUnderTest
from tests.support.cli_world import CommandLine, command_line


@pytest.fixture
def command(
    store: StoreUnderTest,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> CommandLine:
    """Return the command line with settings that name the store of this test."""
    return command_line(store, tmp_path, capsys, monkeypatch)
