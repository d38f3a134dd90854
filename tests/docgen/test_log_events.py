"""docs/events.md explains every log event that the code writes, and no other."""

import ast
import re
from pathlib import Path

import pytest

from docgen.log_events import (
    LOGGERS,
    PACKAGES,
    UnclearEventError,
    calls_of,
    collect_events,
    event_line,
)

HERE = Path("here.py")
SECTION = re.compile(
    r"^### `(\w+)`\n\n<!-- generated: event (\w+) -->\n.*?\n<!-- end -->\n\n(.*?)(?=^##|\Z)",
    re.MULTILINE | re.DOTALL,
)


def sections(root: Path) -> dict[str, str]:
    """Return the sections of the page: each event with the text below its generated line."""
    page = (root / "docs/events.md").read_text()
    found = SECTION.findall(page)
    assert len(found) == len(re.findall("^### ", page, re.MULTILINE)), (
        "a section without its generated line"
    )
    assert all(title == part for title, part, _ in found)
    assert len({title for title, _, _ in found}) == len(found), "an event is explained twice"
    return {title: text for title, _, text in found}


def test_the_page_explains_every_event_and_no_other(root: Path) -> None:
    """Every event has a section, and every section has an event."""
    assert set(sections(root)) == set(collect_events(root))


def test_each_section_says_what_an_event_means_and_what_to_do(root: Path) -> None:
    """Each section states a meaning and then advice."""
    for name, text in sections(root).items():
        meaning, found, advice = text.partition("**What to do.** ")
        assert found, name
        assert meaning.strip().endswith("."), name
        assert advice.strip(), name


def test_an_error_always_says_what_to_do(root: Path) -> None:
    """Every event of level error says what the operator must do."""
    texts = sections(root)
    for event in collect_events(root).values():
        if "error" in event.levels:
            assert not texts[event.name].split("**What to do.** ")[1].startswith("Nothing"), (
                event.name
            )


def test_every_logger_has_a_name_that_the_collector_knows(root: Path) -> None:
    """Every logger has a name that the collector of events knows, so that no event is missing on
    the page.
    """
    for package in PACKAGES:
        for path in (root / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                match node:
                    case ast.arg(arg=name, annotation=ast.Name(id="FilteringBoundLogger")):
                        assert name in LOGGERS, path
                    case ast.AnnAssign(
                        target=ast.Name(id=name), annotation=ast.Name(id="FilteringBoundLogger")
                    ):
                        assert name in LOGGERS, path
                    case ast.Attribute(attr="getLogger" | "get_logger"):
                        assert path.name == "logs.py", f"{path}: a logger comes from get_log()"
                    case ast.Attribute(
                        attr="bind", value=ast.Name(id="log") | ast.Attribute(attr="log" | "_log")
                    ):
                        pytest.fail(f"{path}: bound fields would be missing on the page")


def described(source: str) -> dict[str, str]:
    return {
        call.name: f"{call.level}: {', '.join((*call.fields, *call.optional))}"
        for call in calls_of(source, HERE)
    }


def test_fields_are_read_wherever_they_are_named() -> None:
    """Fields are read from keywords, a literal dictionary, and a dictionary's name in the same
    function. exc_info shows as exception.
    """
    source = """
class A:
    def one(self):
        told = {"code": 1, "sid": None}
        self._log.error("a", message_id=1, **told)
    def two(self):
        get_log().warning("b", **{"x": 1}, exc_info=error)
        self.parts.log.info("c")
"""
    assert described(source) == {
        "a": "error: message_id, code, sid",
        "b": "warning: x, exception",
        "c": "info: ",
    }


def test_a_level_that_is_chosen_at_run_time_counts_as_both() -> None:
    """A level that is chosen at run time counts as both levels."""
    source = """
def settled(self):
    write = self._log.warning if bad else self._log.info
    write("attempt", stage=1)
def other(self):
    write("not_a_log")
"""
    assert [(call.name, call.level) for call in calls_of(source, HERE)] == [
        ("attempt", "warning"),
        ("attempt", "info"),
    ]


def test_fields_that_only_some_lines_have_are_marked(tmp_path: Path) -> None:
    """Two calls of one event are one entry with both levels, and fields of only one call are
    marked.
    """
    (tmp_path / "worker").mkdir()
    (tmp_path / "worker/a.py").write_text(
        'log.info("e", part=1)\nlog.warning("e", part=1, why=2)\n'
    )
    (event,) = collect_events(tmp_path).values()
    assert event_line(event) == "`info` or `warning`: `part`, `why` (not in each line)"


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("log.info(name)", id="a name that is made at run time"),
        pytest.param('log.info(f"a {b}")', id="a text with values in it"),
        pytest.param('log.info("a", **fields)', id="fields from elsewhere"),
        pytest.param('log.info("a", **{**more})', id="a dictionary made of another"),
        pytest.param("hand_over(log.info)", id="a method that is passed on"),
        pytest.param("log.info()", id="no event"),
    ],
)
def test_what_cannot_be_read_is_an_error(source: str) -> None:
    """An event that the source does not state literally fails the page's generation."""
    with pytest.raises(UnclearEventError, match=r"here\.py:1: "):
        list(calls_of(source, HERE))
