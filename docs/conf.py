"""Configures the site that `./run docs` builds: Sphinx reads the pages where they are."""

import posixpath
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

_PROJECT: Final = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))[
    "project"
]

project = "Sendwindow"
version = release = _PROJECT["version"]
html_title = f"Sendwindow {version}"
html_theme = "furo"
html_copy_source = False
html_show_copyright = False

extensions = ["myst_parser"]
myst_heading_anchors = 3  # as GitHub makes them, so that a link works in both places

root_doc = "README"
include_patterns = ["*.md", "docs/**"]
exclude_patterns = [".*", "bench", "site", "tests", "worker"]
nitpicky = True

_DOCS: Final = Path(__file__).parent


def setup(app: Sphinx) -> None:
    """Add what the site needs and GitHub does not: a sidebar, and drawings as text."""
    app.add_lexer("mermaid", TextLexer)
    app.connect("source-read", add_navigation)
    app.connect("build-finished", add_index)


def add_navigation(_app: Sphinx, docname: str, source: list[str]) -> None:
    """Append the sidebar to the first page, and the records to their index.

    GitHub would show both as text, so they are not in the pages.
    """
    if docname == root_doc:
        source[0] += _toctree("", ["docs/README"])
        source[0] += "".join(_toctree(caption, pages) for caption, pages in sections_of_map())
    if docname == "docs/decisions/README":
        source[0] += _toctree("", sorted(path.stem for path in (_DOCS / "decisions").glob("0*.md")))


def sections_of_map() -> Iterator[tuple[str, list[str]]]:
    """Yield the sections of docs/README.md with the pages that each links as a whole.

    A page that no section links fails the build, because Sphinx finds it in no sidebar.
    """
    for section in (_DOCS / "README.md").read_text("utf-8").split("\n## ")[1:]:
        caption, _, text = section.partition("\n")
        links = re.findall(r"\]\(([\w/.-]+)\.md\)", text)
        pages = [posixpath.normpath(f"docs/{link}") for link in links]
        if pages:
            yield caption, pages


def add_index(app: Sphinx, error: Exception | None) -> None:
    """Lead from the address that a browser asks for first to the first page."""
    if error is None:
        page = '<!doctype html>\n<meta http-equiv="refresh" content="0; url=README.html">\n'
        (Path(app.outdir) / "index.html").write_text(page, "utf-8")


def _toctree(caption: str, pages: Iterable[str]) -> str:
    options = [":hidden:", *([f":caption: {caption}"] if caption else [])]
    return "\n".join(["", "", "```{toctree}", *options, "", *pages, "```", ""])
