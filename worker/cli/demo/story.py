"""What the demo leaves on the screen: the story of some messages, and what to try next."""

from collections.abc import Collection, Iterable, Iterator
from typing import Final

from worker.cli.demo.board import played
from worker.cli.demo.demo_script import ScriptRow
from worker.cli.tables import wrap

NEXT: Final = """\
What to try next
  Ask what would happen to two messages, and why. Nothing is sent:
    ./run explain examples/hello.jsonl --config examples/minimal.toml
  Play this again, keep the journals, and let `verify` judge them:
    ./run demo --keep .data/demo
    ./run verify --journal .data/demo --open unresolved
  Send a message from your own code: see "Use it" in README.md."""
"""Commands that a reader can copy. A test runs them."""

_LABELS: Final = ("asked", "facts", "done")
_INDENT_CHARACTERS: Final = 10
_NOT_AS_EXPECTED: Final = "Not what was expected: see NOT AS EXPECTED below."


def story_lines(rows: Iterable[ScriptRow], deviating: Collection[int], width: int) -> Iterator[str]:
    """Yield the stories of `rows` in the order of the played clock, or nothing if there are none.

    `deviating`: the numbers of the rows that did not come out as expected. Their stories do not
    claim what was done.
    """
    chosen = sorted(
        (row for row in rows if row.story is not None), key=lambda row: (row.at, row.number)
    )
    if chosen:
        yield ""
        yield from wrap(
            f"{len(chosen)} of these messages: what was asked, what was true, what was done", width
        )
    for row in chosen:
        yield ""
        yield f"{played(row.at)}  {row.name}"
        for label in _LABELS:
            text = str(getattr(row.story, label))
            if label == "done" and row.number in deviating:
                text = _NOT_AS_EXPECTED
            for number, line in enumerate(wrap(text, width - _INDENT_CHARACTERS)):
                yield f"{'' if number else '  ' + label:<{_INDENT_CHARACTERS}}{line}"
