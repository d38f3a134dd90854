"""`./run docs`: the site builds from the pages as they are, and a link that leads nowhere fails the build."""

import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.long  # installs Sphinx where it is missing


@pytest.fixture(scope="module")
def sphinx(root: Path) -> Path:
    """The Python that has Sphinx, installed as `./run docs` does it; the site of this checkout is built."""
    answer = subprocess.run(
        [str(root / "run"), "docs", "--check"], capture_output=True, text=True, timeout=300, check=False
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return root / ".venv/docs/bin/python"


def build(sphinx: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(sphinx), "-m", "sphinx", "--quiet", "--fail-on-warning", "-c", "docs", "-d", "trees", ".", "site"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def pages(root: Path, tmp_path: Path) -> Path:
    """The smallest set of pages with the real configuration."""
    (tmp_path / "docs").mkdir()
    shutil.copy(root / "docs/conf.py", tmp_path / "docs")
    shutil.copy(root / "pyproject.toml", tmp_path)
    (tmp_path / "README.md").write_text("# First\n\n[map](docs/README.md), [settings](pyproject.toml)\n")
    (tmp_path / "docs/README.md").write_text("# Map\n\n## Reference\n\n[one](one.md) [again](one.md#a-part)\n")
    (tmp_path / "docs/one.md").write_text("# One\n\n## A part\n\n[first](../README.md)\n")
    return tmp_path


def test_every_page_of_the_checkout_is_in_the_site(root: Path, sphinx: Path) -> None:
    """The root's pages too; the first address leads to the README, and nothing is loaded from elsewhere."""
    sources = [*root.glob("*.md"), *(root / "docs").rglob("*.md")]
    for source in sources:
        page = root / "site" / source.relative_to(root).with_suffix(".html")
        assert page.exists(), source
        assert 'src="http' not in page.read_text(), f"{source} loads something from elsewhere"
    assert "README.html" in (root / "site/index.html").read_text()


def test_a_small_site_builds(sphinx: Path, pages: Path) -> None:
    """Links to pages, to headings and to files outside the site are fine."""
    answer = build(sphinx, pages)
    assert answer.returncode == 0, answer.stderr
    assert "One" in (pages / "site/README.html").read_text(), "the sidebar"


@pytest.mark.parametrize("link", ["docs/none.md", "docs/one.md#none", "#none", "none.toml", "docs"])
def test_a_link_that_leads_nowhere_fails_the_build(sphinx: Path, pages: Path, link: str) -> None:
    """A missing page, heading or file, and a folder, are errors with the page and the line."""
    with (pages / "README.md").open("a") as readme:
        readme.write(f"\n[x]({link})\n")
    answer = build(sphinx, pages)
    assert answer.returncode != 0
    assert "README.md:5" in answer.stderr


def test_a_page_that_the_map_does_not_link_fails_the_build(sphinx: Path, pages: Path) -> None:
    """A page without a way to it is a page that is not read."""
    (pages / "docs/two.md").write_text("# Two\n")
    answer = build(sphinx, pages)
    assert answer.returncode != 0
    assert "two.md" in answer.stderr
