"""`./run docs`: the generated parts of docs/ say what the code does."""

import re
import shutil
from pathlib import Path

import pytest

from docgen.__main__ import FILES, generated, main
from docgen.parts import PARTS, DocsError
from docgen.states import TRANSITIONS
from sendwindow.vocabulary import DISPATCH_ENDS, Stage


@pytest.fixture
def checkout(root: Path, tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / name, tmp_path / name)
    return tmp_path


def test_what_is_checked_in_is_fresh(root: Path) -> None:
    """The pages hold exactly what the code generates."""
    assert main(["--check", "--root", str(root)]) == 0


def test_a_stale_part_fails_the_check_and_is_written_again(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--check` names the stale file and writes nothing; without it the part is written again."""
    page = checkout / "docs/settings.md"
    fresh = page.read_text()
    stale = fresh.replace("| `store.partition` |", "| `store.department` |")
    page.write_text(stale)
    assert main(["--check", "--root", str(checkout)]) == 1
    assert "docs/settings.md" in capsys.readouterr().out
    assert page.read_text() == stale
    assert main(["--root", str(checkout)]) == 0
    assert page.read_text() == fresh


def test_every_part_is_used_and_every_marker_is_known(root: Path) -> None:
    """Every generated table is used by a page, and an unknown marker is an error."""
    texts = "".join((root / name).read_text() for name in FILES)
    assert all(f"<!-- generated: {name} -->" in texts for name in PARTS)
    with pytest.raises(DocsError, match="no generated part named weather"):
        generated("<!-- generated: weather -->\n<!-- end -->\n")


def test_a_part_that_cannot_be_generated_fails_with_its_remedy(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A section about an event that no code writes fails, and the error says what to remove."""
    page = checkout / "docs/events.md"
    page.write_text(page.read_text() + "\n<!-- generated: event moon_phase -->\n<!-- end -->\n")
    assert main(["--root", str(checkout)]) == 1
    assert capsys.readouterr().err == (
        "error: No code writes the log event moon_phase. Remove its section from docs/events.md.\n"
    )


def test_architecture_stays_short(root: Path) -> None:
    """docs/architecture.md is read in one sitting: under 150 lines, tables included."""
    assert len((root / "docs/architecture.md").read_text().splitlines()) < 150


def test_every_stage_is_in_the_drawing_and_nothing_leaves_an_end_silently() -> None:
    """Every stage can be reached, and an end is left only by proof or by an operator's decision."""
    reached = {after for _, after, _ in TRANSITIONS} | {Stage.QUEUED}
    assert reached == set(Stage)
    leaving = {(before, why) for before, _, why in TRANSITIONS if before in DISPATCH_ENDS}
    assert leaving == {
        (Stage.ACCEPTED, "failed afterwards, may be tried again"),
        (Stage.DEAD, "replay"),
        *((stage, "retry by a person") for stage in (Stage.REFUSED, Stage.FAILED, Stage.EXPIRED)),
    }
    assert {before for before, _, _ in TRANSITIONS} >= set(Stage) - DISPATCH_ENDS


def test_every_decision_record_is_in_the_index_under_a_number_of_its_own(root: Path) -> None:
    """The index links each record once, and each record has the number of its file and no other
    record's.
    """
    folder = root / "docs/decisions"
    index = (folder / "README.md").read_text()
    records = [path.name for path in sorted(folder.glob("*.md")) if path.name != "README.md"]
    linked = re.findall(r"^\| \[(\d+)\. .*?\]\(([^)]+)\)", index, re.MULTILINE)
    assert [name for _, name in linked] == records
    assert [int(number) for number, _ in linked] == [int(name[:4]) for name in records]
    assert len({name[:4] for name in records}) == len(records)
