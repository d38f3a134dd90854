"""`./run docs` builds the site from the pages, and a broken link fails the build."""

import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.long  # installs Sphinx where it is missing


@pytest.fixture(scope="module")
def sphinx(root: Path) -> Path:
    """Return the Python with Sphinx, after `./run docs` has installed it and built this
    checkout's site.
    """
    answer = subprocess.run(
        [str(root / "run"), "docs", "--check"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return root / ".venv/docs/bin/python"


def build(sphinx: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [
        str(sphinx),
        "-m",
        "sphinx",
        "--quiet",
        "--fail-on-warning",
        "-c",
        "docs",
        "-d",
        "trees",
        ".",
        "site",
    ]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def pages(root: Path, tmp_path: Path) -> Path:
    """Return the smallest set of pages with the real configuration."""
    (tmp_path / "docs").mkdir()
    shutil.copy(root / "docs/conf.py", tmp_path / "docs")
    shutil.copy(root / "pyproject.toml", tmp_path)
    (tmp_path / "README.md").write_text(
        "# First\n\n[map](docs/README.md), [settings](pyproject.toml)\n"
    )
    (tmp_path / "docs/README.md").write_text(
        "# Map\n\n## Reference\n\n[one](one.md) [again](one.md#a-part)\n"
    )
    (tmp_path / "docs/one.md").write_text("# One\n\n## A part\n\n[first](../README.md)\n")
    return tmp_path


def test_every_page_of_the_checkout_is_in_the_site(root: Path, sphinx: Path) -> None:
    """Every page is in the site, the root's pages too, and the first address is the README's.

    No file is loaded from another site.
    """
    sources = [*root.glob("*.md"), *(root / "docs").rglob("*.md")]
    for source in sources:
        page = root / "site" / source.relative_to(root).with_suffix(".html")
        assert page.exists(), source
        assert 'src="http' not in page.read_text(), f"{source} loads something from elsewhere"
    assert "README.html" in (root / "site/index.html").read_text()


def test_a_small_site_builds(sphinx: Path, pages: Path) -> None:
    """Links to pages, to headings and to files outside the site work."""
    answer = build(sphinx, pages)
    assert answer.returncode == 0, answer.stderr
    assert "One" in (pages / "site/README.html").read_text(), "the sidebar"


@pytest.mark.parametrize("link", ["docs/none.md", "docs/one.md#none", "#none", "none.toml", "docs"])
def test_a_link_that_leads_nowhere_fails_the_build(sphinx: Path, pages: Path, link: str) -> None:
    """A link to a missing page, heading or file, or to a folder, is an error with page and line."""
    with (pages / "README.md").open("a") as readme:
        readme.write(f"\n[x]({link})\n")
    answer = build(sphinx, pages)
    assert answer.returncode != 0
    assert "README.md:5" in answer.stderr


def test_a_page_that_the_map_does_not_link_fails_the_build(sphinx: Path, pages: Path) -> None:
    """A page without a link in the map fails the build, because it would not be read."""
    (pages / "docs/two.md").write_text("# Two\n")
    answer = build(sphinx, pages)
    assert answer.returncode != 0
    assert "two.md" in answer.stderr
