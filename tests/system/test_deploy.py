"""The files of deploy/ and the shell scripts, checked by their own tools."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from worker.settings.checks import is_twilio
from worker.settings.settings import load_settings
from worker.wiring import profile_of

YAML_RULES = "{extends: default, rules: {line-length: {max: 120}, document-start: disable}}"


def judged(tools: Path, *command: str | Path) -> None:
    environ = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    answer = subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=120, check=False
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.fixture
def compose(tools: Path, root: Path) -> dict[str, Any]:
    """Return the compose file as data."""
    convert = "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)"
    with (root / "deploy" / "compose.yaml").open() as text:
        answer = subprocess.run(
            [tools / "python", "-c", convert], stdin=text, capture_output=True, check=True
        )
    content: dict[str, Any] = json.loads(answer.stdout)
    return content


def test_the_dockerfile_has_no_findings(tools: Path, root: Path) -> None:
    """The Dockerfile has no findings of hadolint, with every rule."""
    judged(tools, "hadolint", root / "deploy" / "Dockerfile")


def test_the_compose_file_fits_its_schema(tools: Path, root: Path) -> None:
    """The compose file fits its schema, since a misspelt key would be ignored silently."""
    judged(
        tools,
        "check-jsonschema",
        "--builtin-schema",
        "vendor.compose-spec",
        root / "deploy" / "compose.yaml",
    )


def test_the_scripts_have_no_findings(tools: Path, root: Path) -> None:
    """The scripts have no findings of shellcheck, as POSIX sh where the script says so."""
    judged(tools, "shellcheck", root / "run", root / ".ci" / "run", root / ".ci" / "python")


def test_the_yaml_files_have_no_findings(tools: Path, root: Path) -> None:
    """The YAML files have no findings of yamllint, with the line length of the project."""
    files = [root / "deploy" / "compose.yaml", root / ".pre-commit-config.yaml"]
    judged(tools, "yamllint", "--strict", "-d", YAML_RULES, *files)


def test_the_store_has_the_profile_it_needs(compose: dict[str, Any]) -> None:
    """The store has its append-only file every second, no eviction, and a memory limit below the
    container's.
    """
    words = compose["services"]["store"]["command"]
    options = dict(zip(words[1::2], words[2::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--appendfsync"] == "everysec"
    assert options["--maxmemory-policy"] == "noeviction"
    assert options["--maxmemory"] == "640mb"
    assert compose["services"]["store"]["mem_limit"] == "1g"


def test_every_service_can_drain_before_it_is_killed(compose: dict[str, Any]) -> None:
    """The grace period of a container is longer than the worker's own."""
    grace = load_settings(None, {}).dispatch.grace_seconds
    for name in ("worker", "gateway"):
        assert int(compose["services"][name]["stop_grace_period"].removesuffix("s")) >= grace + 5


def test_every_service_of_ours_gets_what_the_settings_refer_to(
    compose: dict[str, Any], root: Path
) -> None:
    """Each service gets its secrets from one file, which may be absent and is never committed."""
    for name in ("gateway", "worker", "sandbox"):
        assert compose["services"][name]["env_file"] == [{"path": ".env", "required": False}]
    assert ".env" in (root / ".gitignore").read_text().splitlines()
    assert "env_file" not in compose["services"]["store"]


def test_a_gateway_is_asked_whether_it_lives(compose: dict[str, Any], root: Path) -> None:
    """The gateway's health check asks the port on which the image listens."""
    assert "SENDWINDOW_GATEWAY_PORT=8080" in (root / "deploy" / "Dockerfile").read_text()
    assert (
        "http://127.0.0.1:8080/health/live"
        in compose["services"]["gateway"]["healthcheck"]["test"][-1]
    )


def test_a_worker_is_asked_whether_it_is_ready(compose: dict[str, Any]) -> None:
    """A worker's health check asks its configured port, which the settings know and no container
    publishes.
    """
    worker = compose["services"]["worker"]
    port = worker["environment"]["SENDWINDOW_DISPATCH_HEALTH_PORT"]
    assert load_settings(
        None, {"SENDWINDOW_DISPATCH_HEALTH_PORT": port}
    ).dispatch.health_port == int(port)
    assert f"http://127.0.0.1:{port}/health/ready" in worker["healthcheck"]["test"][-1]
    assert worker["environment"].items() > compose["services"]["gateway"]["environment"].items()
    assert "ports" not in worker


def test_the_sandbox_profile_reaches_no_person(root: Path) -> None:
    """The sandbox profile has complete settings, and every account leads to the sandbox."""
    environ = {
        "TWILIO_AUTH_TOKEN": "any",
        "SENDWINDOW_PERSON_KEY": "any-32-characters-or-more-will-do",
        "SENDWINDOW_STORE_URL": "redis://store:6379/0",
        "SENDWINDOW_STORE_PERSON_KEY": "env:SENDWINDOW_PERSON_KEY",
    }
    settings = load_settings(root / "deploy" / "sandbox.toml", environ)
    assert not any(is_twilio(account.base_url) for account in settings.accounts.values())
    assert profile_of(settings) == "sandbox"
    assert {sender.account for sender in settings.senders.values()} == {"main"}
