"""The command line in this process, with its own settings on the store under test."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.cast import ANNA
from tests.support.stores_world import PERSON_KEY, Place
from worker.cli.main import main

GOOD: dict[str, Any] = {
    "to": ANNA,
    "sender": "shop",
    "purpose": "utility",
    "freeform": {"body": "Your bread is ready."},
}
"""A message that `send` takes."""

SETTINGS = """
[store]
url = "{url}"
partition = "{partition}"
person_key = "env:TEST_PERSON_KEY"
[gateway]
public_url = "http://127.0.0.1:8080"
[accounts.main]
account_sid = "AC00000000000000000000000000000001"
auth_token = "env:TEST_TOKEN"
base_url = "http://127.0.0.1:9810"
[senders.shop]
account = "main"
address = "whatsapp:+14155550100"
[senders.other]
account = "main"
address = "whatsapp:+14155550101"
[senders.text]
account = "main"
address = "+14155550102"
[templates.order_update]
category = "UTILITY"
variables = ["1"]
[templates.order_update.languages]
en = "HX00000000000000000000000000000001"
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """The exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        """Standard output as JSON Lines."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True, slots=True)
class CommandLine:
    """Runs commands with one settings file."""

    config: Path
    capture: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str) -> Answer:
        """Run a command with its `--config` set."""
        self.capture.readouterr()
        code = main([*arguments, "--config", str(self.config)])
        printed = self.capture.readouterr()
        return Answer(code, printed.out, printed.err)


def command_line(
    place: Place, folder: Path, capture: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> CommandLine:
    """Write the settings, and remove the caller's environment."""
    monkeypatch.setenv("TEST_PERSON_KEY", PERSON_KEY.decode())
    monkeypatch.setenv("TEST_TOKEN", "token-of-the-tests")
    for name in ("REDIS_URL", "SENDWINDOW_CONFIG", "SENDWINDOW_DATA"):
        monkeypatch.delenv(name, raising=False)
    config = folder / "sendwindow.toml"
    config.write_text(SETTINGS.format(url=place.url, partition=place.partition))
    return CommandLine(config, capture)
