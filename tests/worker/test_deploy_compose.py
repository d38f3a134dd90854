"""What deploy/compose.yaml passes to the containers, as far as that needs no YAML parser.

tests/system/test_deploy.py checks the whole file with the proper tools.
"""

import re
from pathlib import Path

import pytest

from tests.support.settings_examples import parse
from worker.settings.reader import SettingsError

REFERENCE = re.compile(r"env:([A-Z_]+)")


@pytest.fixture
def service(root: Path) -> str:
    """Return the part that gateway, worker and sandbox share."""
    text = (root / "deploy" / "compose.yaml").read_text("utf-8")
    _, _, rest = text.partition("x-service: &service\n")
    common, _, services = rest.partition("\nservices:\n")
    assert services.count("<<: *service") == 3
    return common


def test_what_the_settings_refer_to_reaches_the_containers(service: str, root: Path) -> None:
    """One file, present or not, brings all the secrets into the containers, whatever their names
    are.
    """
    assert "  env_file:\n    - path: .env\n      required: false\n" in service
    header = (root / "deploy" / "compose.yaml").read_text("utf-8").partition("name: sendwindow")[0]
    assert "deploy/.env" in header
    assert ".env" in (root / ".gitignore").read_text("utf-8").splitlines()


def test_what_the_sandbox_refers_to_needs_no_file(service: str, root: Path) -> None:
    """The sandbox needs only the two variables of the page and no file."""
    names = set(REFERENCE.findall((root / "deploy" / "sandbox.toml").read_text("utf-8") + service))
    assert names == {"TWILIO_AUTH_TOKEN", "SENDWINDOW_PERSON_KEY"}
    assert all(f"    {name}: ${{{name}:?" in service for name in names)


def test_the_containers_environment_holds_no_variable_that_is_not_read(service: str) -> None:
    """The containers get every variable of deploy/.env, and the service refuses none of them."""
    names = set(re.findall(r"SENDWINDOW_[A-Z_]+", service))
    assert "SENDWINDOW_TOML" in names

    with pytest.raises(SettingsError) as caught:
        parse({}, dict.fromkeys(names | {"SENDWINDOW_NOSUCH"}, "redis://store"))
    assert [fault.key for fault in caught.value.faults if "no such" in fault.problem] == [
        "SENDWINDOW_NOSUCH"
    ]


def test_health_is_asked_for_where_the_command_is_known(root: Path) -> None:
    """Each service has its own health check, because the image runs any command."""
    assert "\nHEALTHCHECK" not in (root / "deploy" / "Dockerfile").read_text("utf-8")
    services = (root / "deploy" / "compose.yaml").read_text("utf-8").partition("\nservices:\n")[2]
    assert services.count("    healthcheck:\n") == 4


def test_settings_that_are_missing_are_an_error(service: str) -> None:
    """Missing settings are an error.

    Docker would otherwise create a folder in place of the file.
    """
    assert "      bind:\n        create_host_path: false\n" in service


def test_the_file_says_how_to_reach_store_and_commands(root: Path) -> None:
    """The first lines of the file say how to reach the store and the commands, as neither is
    published.
    """
    header = (root / "deploy" / "compose.yaml").read_text("utf-8").partition("name: sendwindow")[0]
    for told in (
        "redis://store:6379/0",
        "sendwindow_default",
        "run --rm worker doctor",
        "run --rm -T worker send -",
    ):
        assert told in header
