"""What the environment may say: every SENDWINDOW_ variable is known, the data folder usable."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.settings_examples import parse
from worker.cli.exit_codes import Exit
from worker.cli.main import main
from worker.settings.reader import SettingsError
from worker.settings.settings import load_settings

NAME = re.compile(r"\bSENDWINDOW_[A-Z][A-Z_]*[A-Z]\b")
UNKNOWN = "there is no such setting"


def faults_of(environ: Mapping[str, str], data: Mapping[str, Any] | None = None) -> list[str]:
    """Read settings without another file, and return the faults as text."""
    try:
        parse(data or {}, environ)
    except SettingsError as error:
        return [str(fault) for fault in error.faults]
    return []


@pytest.mark.parametrize(
    "variable, meant",
    [
        ("SENDWINDOW_GUARD_ALLOW_RECIPIENTS", "SENDWINDOW_GUARDS_ALLOW_RECIPIENTS"),
        ("SENDWINDOW_GAURDS_ALLOW_RECIPIENTS", "SENDWINDOW_GUARDS_ALLOW_RECIPIENTS"),
        ("SENDWINDOW_ALLOW_RECIPIENTS", "SENDWINDOW_GUARDS_ALLOW_RECIPIENTS"),
        ("SENDWINDOW_STORE", "SENDWINDOW_STORE_URL"),
        ("SENDWINDOW_STORE_UR", "SENDWINDOW_STORE_URL"),
        ("SENDWINDOW_CONFG", "SENDWINDOW_CONFIG"),
    ],
)
def test_a_misspelt_variable_is_refused_wherever_the_mistake_is(variable: str, meant: str) -> None:
    """A misspelt variable is refused, in its section or in its key.

    If it were ignored, a staging system would go on without its allow-list.
    """
    assert faults_of({variable: "+14155550123"}) == [
        f"environment: {variable}: {UNKNOWN}; did you mean {meant}?"
    ]


@pytest.mark.parametrize("variable", ["SENDWINDOW_NOSUCH", "SENDWINDOW_"])
def test_a_variable_like_no_other_is_refused_with_what_there_is(variable: str) -> None:
    """If no setting has a similar name, the fault explains how the names are built."""
    [fault] = faults_of({variable: "1"})
    assert fault.startswith(f"environment: {variable}: {UNKNOWN}; unset it, ")
    assert "SENDWINDOW_<SECTION>_<KEY>" in fault
    assert "guards" in fault


def test_an_unknown_key_of_a_section_is_answered_with_that_section() -> None:
    """If the section exists, the error lists its keys."""
    [fault] = faults_of({"SENDWINDOW_LOG_ZZZZZZ": "1"})
    assert fault.endswith("; known: SENDWINDOW_LOG_FORMAT, SENDWINDOW_LOG_LEVEL")


@pytest.mark.parametrize(
    "variable, section",
    [
        ("SENDWINDOW_ACCOUNTS_MAIN_BASE_URL", "accounts"),
        ("SENDWINDOW_ACCOUNT_MAIN_AUTH_TOKEN", "accounts"),
        ("SENDWINDOW_SENDERS_SHOP_ADDRESS", "senders"),
        ("SENDWINDOW_TEMPLATES_ORDER_CATEGORY", "templates"),
    ],
)
def test_what_only_the_file_can_say_is_sent_there(variable: str, section: str) -> None:
    """A variable for accounts, senders or templates is refused with a hint to the file.

    Their own names do not fit into a variable.
    """
    [fault] = faults_of({variable: "x"})
    assert fault == (
        f"environment: {variable}: {section} are set in the file only; "
        f"write [{section}.NAME] there, and a secret in it as env:NAME"
    )


def test_every_unknown_variable_is_listed_and_no_value_repeated() -> None:
    """One run lists every unknown variable and repeats no value, which may be a secret."""
    faults = faults_of(
        {
            "SENDWINDOW_NOSUCH": "hunter2",
            "SENDWINDOW_STORE": "redis://:hunter2@db",
            "NOSUCH": "fine",
        }
    )
    assert len(faults) == 2
    assert "hunter2" not in "".join(faults)


def test_a_variable_that_is_referred_to_is_no_fault() -> None:
    """A variable that a setting refers to is no fault, whether the file or another variable names
    it. That holds even where the environment overrides the setting in the file.
    """
    data = {
        "store": {"person_key": "env:SENDWINDOW_MY_KEY"},
        "accounts": {
            "main": {
                "account_sid": "AC" + "1" * 32,
                "auth_token": "env:SENDWINDOW_TOKEN",
                "webhook_tokens": ["env:SENDWINDOW_TOKEN", "env:SENDWINDOW_NEXT_TOKEN"],
            }
        },
    }
    environ = {
        "SENDWINDOW_MY_KEY": "m" * 16,
        "SENDWINDOW_OTHER_KEY": "o" * 16,
        "SENDWINDOW_STORE_PERSON_KEY": "env:SENDWINDOW_OTHER_KEY",
        "SENDWINDOW_TOKEN": "t" * 16,
        "SENDWINDOW_NEXT_TOKEN": "n" * 16,
        "SENDWINDOW_GATEWAY_PUBLIC_URL": "https://hooks.example.com",
    }
    assert faults_of(environ, data) == []
    assert len(faults_of(environ | {"SENDWINDOW_STORE_PERSON_KEY": "p" * 16}, data)) == 1


def test_what_kubernetes_sets_for_a_service_of_our_name_is_no_fault() -> None:
    """The variables that Kubernetes sets for a Service called `sendwindow` are no faults.

    Every container of the namespace gets them.
    """
    links = {
        "SENDWINDOW_SERVICE_HOST": "10.0.0.11",
        "SENDWINDOW_SERVICE_PORT": "8080",
        "SENDWINDOW_SERVICE_PORT_HTTP": "8080",
        "SENDWINDOW_PORT": "tcp://10.0.0.11:8080",
        "SENDWINDOW_PORT_8080_TCP": "tcp://10.0.0.11:8080",
        "SENDWINDOW_PORT_8080_TCP_PROTO": "tcp",
        "SENDWINDOW_PORT_8080_TCP_PORT": "8080",
        "SENDWINDOW_PORT_8080_TCP_ADDR": "10.0.0.11",
        "SENDWINDOW_GATEWAY_SERVICE_HOST": "10.0.0.12",
        "SENDWINDOW_GATEWAY_PORT": "tcp://10.0.0.12:8080",
        "SENDWINDOW_WORKER_PORT": "tcp://10.0.0.13:8081",
    }
    assert faults_of(links) == []
    assert len(faults_of({"SENDWINDOW_PORT": "8080"})) == 1


def variables_of_the_project(root: Path) -> set[str]:
    """Return every SENDWINDOW_ name in the project's programs, files and pages."""
    folders = (
        "worker",
        "sendwindow",
        "policies",
        "deploy",
        "bench",
        "docgen",
        "docs",
        "examples",
        ".ci",
    )
    files = [path for folder in folders for path in (root / folder).rglob("*")] + [
        root / "run",
        root / "README.md",
    ]
    texts = (
        path.read_bytes().decode(errors="ignore")
        for path in files
        if path.is_file() and path.suffix != ".pyc"
    )
    return {name for text in texts for name in NAME.findall(text)}


def test_every_variable_of_the_project_is_known(root: Path) -> None:
    """Every variable in our own pages, images and scripts is a known setting."""
    names = variables_of_the_project(root)
    assert names >= {
        "SENDWINDOW_CONFIG",
        "SENDWINDOW_DATA",
        "SENDWINDOW_PERSON_KEY",
        "SENDWINDOW_GATEWAY_HOST",
    }
    assert [fault for fault in faults_of(dict.fromkeys(names, "x")) if UNKNOWN in fault] == []


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a folder without settings, and return it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fault_of_load(environ: Mapping[str, str]) -> str:
    with pytest.raises(SettingsError, match="1 fault") as caught:
        load_settings(None, environ)
    return str(caught.value.faults[0])


@pytest.mark.parametrize("below", ["", "/deep/down"])
def test_a_data_folder_that_is_a_file_is_named(folder: Path, below: str) -> None:
    """The fault names the variable, not a store that is not configured."""
    file = folder / "afile"
    file.touch()
    assert fault_of_load({"SENDWINDOW_DATA": f"{file}{below}"}) == (
        f"environment: SENDWINDOW_DATA: {file} is a file, not a folder; "
        "name a folder for the embedded store, or set store.url"
    )
    assert file.stat().st_size == 0


def test_the_default_folder_must_be_a_folder_too(folder: Path) -> None:
    """A file called `.data` in place of the default folder is a fault too."""
    (folder / ".data").touch()
    assert ".data is a file, not a folder" in fault_of_load({})


def test_a_data_folder_that_cannot_be_written_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A data folder without write permission is named at start, with the variable to change."""
    # root, who runs tests in containers, may write everywhere.
    monkeypatch.setattr(os, "access", lambda path, _mode: path != folder)
    assert f"SENDWINDOW_DATA: {folder} cannot be written; " in fault_of_load(
        {"SENDWINDOW_DATA": f"{folder}/data"}
    )


def test_a_data_folder_that_is_not_needed_is_not_looked_at(folder: Path) -> None:
    """With a store of your own the data folder is not checked, because it is not used."""
    (folder / "afile").touch()
    environ = {"SENDWINDOW_DATA": "afile", "SENDWINDOW_STORE_PERSON_KEY": "k" * 16}
    assert load_settings(None, environ | {"REDIS_URL": "redis://db"}).store.url == "redis://db"


def test_a_data_folder_is_not_made_by_looking(folder: Path) -> None:
    """Reading settings does not create the data folder."""
    load_settings(None, {"SENDWINDOW_DATA": str(folder / "new" / "data")})
    assert list(folder.iterdir()) == []


def test_doctor_says_that_the_data_folder_is_a_file(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A data folder that is a file gives one sentence and exit code 2.

    The error does not mention Redis, which is not configured here.
    """
    (folder / "afile").touch()
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.setenv("SENDWINDOW_DATA", "afile")
    assert main(["doctor"]) == Exit.USAGE
    said = capsys.readouterr().err
    assert "SENDWINDOW_DATA: afile is a file" in said
    assert "Redis" not in said
