"""`./run release`: what it builds, what it refuses, and that it only sets a tag."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from release.artifacts import faults_of_wheel, is_reserved
from release.long_description import absolute_links
from release.readiness import read_changelog

CHANGELOG = (
    "# Changelog\n\n## [Unreleased]\n\n## [0.1.0] - 2026-12-01\n\n### Added\n\n- The library.\n"
)

NEEDED = ("README.md", "LICENSE", ".gitignore", "pyproject.toml", "sendwindow", "release")

ENVIRON = {
    "PATH": os.environ.get("PATH", ""),
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    **{
        f"GIT_{role}_{what}": f"{what.lower()}@example.org"
        for role in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    },
}


def git(checkout: Path, *arguments: str) -> str:
    command = ["git", "-C", str(checkout), *arguments]
    return subprocess.run(
        command, env=ENVIRON, capture_output=True, text=True, timeout=60, check=True
    ).stdout


def commit(checkout: Path) -> None:
    git(checkout, "add", "--all")
    git(checkout, "commit", "--quiet", "--message", "Change it")


@pytest.fixture
def checkout(root: Path, tmp_path: Path) -> Path:
    """Return a git checkout of the files that a release reads, with a changelog that is ready."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in NEEDED:
        source = root / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    (folder / "CHANGELOG.md").write_text(CHANGELOG)
    git(folder, "init", "--quiet", "--initial-branch", "main")
    commit(folder)
    return folder


def release(root: Path, checkout: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "release", "--root", str(checkout), *options]
    environ = ENVIRON | {"PYTHONPATH": str(root)}
    return subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=120, check=False
    )


def tags(checkout: Path) -> list[str]:
    return git(checkout, "tag", "--list").split()


@pytest.mark.long
def test_a_release_builds_checks_and_tags_and_does_nothing_else(root: Path, checkout: Path) -> None:
    """Wheel and sdist are in dist/, the tag has the changelog's section, and the tree is
    unchanged.
    """
    answer = release(root, checkout)
    assert answer.returncode == 0, answer.stderr
    assert {path.name for path in (checkout / "dist").iterdir()} == {
        "sendwindow-0.1.0-py3-none-any.whl",
        "sendwindow-0.1.0.tar.gz",
    }
    assert tags(checkout) == ["v0.1.0"]
    assert git(checkout, "cat-file", "-t", "v0.1.0").strip() == "tag"
    assert git(checkout, "tag", "--list", "--format=%(contents)", "v0.1.0").strip() == (
        "Sendwindow 0.1.0\n\n### Added\n\n- The library."
    )
    assert git(checkout, "status", "--porcelain") == ""
    again = release(root, checkout)
    assert again.returncode == 1
    assert "The tag v0.1.0 exists already. Raise the version" in again.stderr


@pytest.mark.long
def test_a_dry_run_sets_no_tag_and_the_same_commit_gives_the_same_bytes(
    root: Path, checkout: Path
) -> None:
    """A dry run does everything but the tag, and the same commit gives the same bytes."""
    built = []
    for _ in range(2):
        answer = release(root, checkout, "--dry-run")
        assert answer.returncode == 0, answer.stderr
        assert "would set the tag v0.1.0" in answer.stdout
        built.append([path.read_bytes() for path in sorted((checkout / "dist").iterdir())])
        shutil.rmtree(checkout / "dist")
    assert built[0] == built[1]
    assert tags(checkout) == []


def make_dirty(checkout: Path) -> None:
    (checkout / "README.md").write_text("# Changed\n")


def add_a_stray_file(checkout: Path) -> None:
    (checkout / "sendwindow/notes.txt").write_text("not committed\n")


def forget_the_changelog(checkout: Path) -> None:
    (checkout / "CHANGELOG.md").write_text(
        "# Changelog\n\n## [0.0.9] - 2026-01-01\n\n- The one before.\n"
    )
    commit(checkout)


def leave_it_empty(checkout: Path) -> None:
    (checkout / "CHANGELOG.md").write_text("# Changelog\n\n## [0.1.0] - 2026-12-01\n")
    commit(checkout)


def leave_entries_behind(checkout: Path) -> None:
    (checkout / "CHANGELOG.md").write_text(
        CHANGELOG.replace("[Unreleased]\n", "[Unreleased]\n\n- One more.\n")
    )
    commit(checkout)


def name_it_oddly(checkout: Path) -> None:
    project = checkout / "pyproject.toml"
    project.write_text(project.read_text().replace('version = "0.1.0"', 'version = "0.1"'))
    commit(checkout)


@pytest.mark.long
@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (make_dirty, "The tree has changes that are not committed. Commit them"),
        (add_a_stray_file, "The tree has changes that are not committed. Commit them"),
        (forget_the_changelog, "CHANGELOG.md has no section for 0.1.0. Write a section"),
        (leave_it_empty, "CHANGELOG.md has no section for 0.1.0. Write a section"),
        (leave_entries_behind, "CHANGELOG.md has entries under Unreleased. Move them"),
        (name_it_oddly, "The version 0.1 is not of the form 1.2.3. Correct it"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_not_ready_is_refused_with_the_remedy(
    root: Path, checkout: Path, spoil: object, says: str
) -> None:
    """If a release is not ready, it is refused with a remedy; no file is built and no tag set."""
    assert callable(spoil)
    spoil(checkout)
    answer = release(root, checkout)
    assert answer.returncode == 1
    assert says in answer.stderr
    assert tags(checkout) == []
    assert not (checkout / "dist").exists()


def test_a_section_of_the_changelog_ends_where_the_next_begins() -> None:
    """The tag's text ends where the changelog's next section begins."""
    text = f"{CHANGELOG}\n## [0.0.9] - 2026-01-01\n\n- Older.\n"
    assert read_changelog(text, "0.1.0") == ("### Added\n\n- The library.", [])
    assert read_changelog(text, "0.0.9") == ("- Older.", [])


def test_the_links_of_the_long_description_are_absolute_and_lead_to_files(root: Path) -> None:
    """Links of the long description are absolute, because an index shows the README alone."""
    text = absolute_links((root / "README.md").read_text(), "https://base/")
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    assert links
    for link in links:
        assert link.startswith(("https://", "#")), link
        if link.startswith("https://base/"):
            assert (root / link.removeprefix("https://base/").partition("#")[0]).exists(), link


def test_the_links_begin_where_the_source_is(root: Path) -> None:
    """The project's address is in two places of pyproject.toml, which must agree."""
    whole = tomllib.loads((root / "pyproject.toml").read_text())
    source = whole["project"]["urls"]["Source"]
    assert whole["tool"]["hatch"]["metadata"]["hooks"]["custom"]["links"].startswith(
        f"{source}/blob/v{{version}}/"
    )


def test_only_relative_links_outside_of_code_change() -> None:
    """Addresses, links within the page and links in code blocks stay unchanged."""
    text = "[a](docs/a.md#b) [b](https://c) [d](#e)\n```md\n[f](g.md)\n```\n[h](i.md)\n"
    assert absolute_links(text, "https://x/") == (
        "[a](https://x/docs/a.md#b) [b](https://c) [d](#e)\n```md\n[f](g.md)\n```\n[h](https://x/i.md)\n"
    )


def wheel_with(folder: Path, extra: dict[str, str], metadata: str = "") -> Path:
    """Return a wheel with an empty RECORD and the required files."""
    path = folder / "sendwindow-0.1.0-py3-none-any.whl"
    info = "sendwindow-0.1.0.dist-info"
    contents = {
        "sendwindow/py.typed": "",
        f"{info}/licenses/LICENSE": "",
        f"{info}/METADATA": metadata,
        **extra,
    }
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in contents.items():
            wheel.writestr(name, text)
        wheel.writestr(f"{info}/RECORD", "")
    return path


METADATA = """Name: sendwindow
Version: 0.1.0
Summary: s
License-Expression: Apache-2.0
License-File: LICENSE
Requires-Python: >=3.11
Project-URL: Source, https://host/source
Description-Content-Type: text/markdown

[settings](https://host/source/docs/settings.md)
"""


@pytest.mark.parametrize(
    ("extra", "metadata", "says"),
    [
        ({"worker/__init__.py": ""}, METADATA, "worker/__init__.py does not belong in the wheel"),
        ({}, METADATA, "RECORD does not hold the digest of sendwindow/py.typed"),
        ({}, METADATA.replace("0.1.0", "0.2.0"), "the metadata names version 0.2.0"),
        ({}, METADATA.replace("Summary: s\n", ""), "the metadata has no Summary"),
        (
            {},
            METADATA.replace("text/markdown", "text/plain"),
            "the description is not declared as Markdown",
        ),
        ({}, METADATA.partition("\n\n")[0] + "\n\n", "the description is empty"),
        (
            {},
            METADATA.replace("https://host/source/docs", "docs"),
            "the description links docs/settings.md",
        ),
        (
            {},
            METADATA.replace("Source, https", "Source, http"),
            "the project's URL is not absolute",
        ),
    ],
)
def test_a_wheel_that_must_not_be_released_is_found(
    tmp_path: Path, extra: dict[str, str], metadata: str, says: str
) -> None:
    """Each check of a wheel can fail."""
    assert any(
        fault.startswith(says)
        for fault in faults_of_wheel(wheel_with(tmp_path, extra, metadata), "0.1.0")
    )


def test_only_an_address_that_leads_nowhere_is_reserved() -> None:
    """The note about project.urls ends once the real address is there."""
    assert is_reserved("https://sendwindow.example/source")
    assert is_reserved("https://www.example.com")
    assert not is_reserved("https://example.community/source")
