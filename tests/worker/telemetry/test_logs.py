"""What a log line looks like, and what it never holds."""

import io
import json
import logging
import os
import resource
import subprocess
import sys
import warnings
from pathlib import Path
from typing import IO, Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from sendwindow.vocabulary import Stage
from tests.chaos.processes import ROOT
from worker.settings.schema import LogSettings
from worker.telemetry.logs import (
    _ADDRESS,
    _PASSWORD,
    PERSONAL_FIELDS,
    REMOVED,
    configure_logs,
    get_log,
    person_labels,
    refuse_personal_fields,
    scrub_line,
)

ADDRESS = "whatsapp:+14155550123"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def logging_to(stream: io.StringIO, **settings: Any) -> io.StringIO:
    """Send logs to a stream."""
    configure_logs(LogSettings(**settings), stream, {"role": "gateway"})
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """Read back JSON lines."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object() -> None:
    """Programs read a line: one JSON object with event, level, UTC time, role and fields."""
    out = logging_to(io.StringIO())
    get_log().info("callback", sid="SM1", status="sent")
    (line,) = lines(out)
    assert line["at"].endswith("Z")
    assert {name: line[name] for name in ("event", "level", "role", "sid", "status")} == {
        "event": "callback",
        "level": "info",
        "role": "gateway",
        "sid": "SM1",
        "status": "sent",
    }


def test_a_terminal_gets_colours_and_a_pipe_does_not() -> None:
    """`auto` looks at the stream; `console` on a pipe is plain text."""
    out = logging_to(Terminal())
    get_log().info("callback")
    assert "\x1b[" in out.getvalue()
    out = logging_to(io.StringIO(), format="console")
    get_log().info("callback")
    assert "callback" in out.getvalue()
    assert "\x1b[" not in out.getvalue()


def test_lines_below_the_level_are_not_written() -> None:
    """The level holds for our lines and for those of libraries."""
    out = logging_to(io.StringIO(), level="warning")
    get_log().info("quiet")
    logging.getLogger("redis").info("quiet")
    get_log().warning("loud")
    assert [line["event"] for line in lines(out)] == ["loud"]


@pytest.mark.parametrize("name", ["aiohttp.server", "redis", "asyncio", "arq.connections"])
def test_loggers_of_libraries_come_under_the_same_roof(name: str) -> None:
    """A warning of a library is also a JSON line, with the logger's name and the traceback."""
    out = logging_to(io.StringIO())
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        logging.getLogger(name).exception("failed for %s", ADDRESS)
    (line,) = lines(out)
    assert (line["event"], line["logger"], line["role"]) == (
        "failed for [removed]",
        name,
        "gateway",
    )
    assert "RuntimeError: broken" in line["exception"]


def test_arq_does_not_log_arguments() -> None:
    """Arq's log is silent.

    It would write every job with its arguments at INFO, and an error for each interruption.
    """
    out = logging_to(io.StringIO(), level="debug")
    logging.getLogger("arq.worker").error("0.14s ! search failed, CancelledError")
    logging.getLogger("arq.worker").info("0.01s → job:send_message(%r)", ADDRESS)
    logging.getLogger("aiohttp.access").info("POST /twilio/inbound?From=%s", ADDRESS)
    assert out.getvalue() == ""


def test_warnings_of_python_are_log_lines() -> None:
    """A DeprecationWarning in production is a log line."""
    out = logging_to(io.StringIO())
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old call", UserWarning, stacklevel=1)
    assert "old call" in lines(out)[0]["event"]


@pytest.mark.parametrize("name", sorted(PERSONAL_FIELDS))
def test_a_personal_field_loses_its_value(name: str) -> None:
    """A field with a personal name loses its value, and the line names the field."""
    out = logging_to(io.StringIO())
    get_log().info("mistake", **{name: "Dear Ann", "code": 63016})
    (line,) = lines(out)
    assert "Dear Ann" not in out.getvalue()
    assert (line["removed"], line["code"]) == ([name], 63016)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        (ADDRESS, "[removed]"),
        ("messenger:1234567", "[removed]"),
        ("to whatsapp:US.ENT.1a2b, again", "to [removed], again"),
        ("call +14155550123 now", "call [removed] now"),
        ("/x?From=whatsapp%3A%2B14155550123", "/x?From=whatsapp%3A[removed]"),
        ("redis://:hunter2@db:6379/0", "redis://[removed]@db:6379/0"),
        ("https://user:hunter2@example.com/a", "https://[removed]@example.com/a"),
        (
            "m-1 accepted as SM12 at 2026-11-21T03:09:31.441412Z",
            "m-1 accepted as SM12 at 2026-11-21T03:09:31.441412Z",
        ),
    ],
)
@pytest.mark.parametrize("format_", ["json", "console"])
def test_addresses_and_passwords_are_cut_from_any_line(
    text: str, written: str, format_: str
) -> None:
    """An address, or a URL with a password, is cut from any field."""
    out = logging_to(io.StringIO(), format=format_)
    get_log().error("stray", detail=text)
    assert written in out.getvalue()
    assert text == written or text not in out.getvalue()


_NAMES = st.sampled_from(
    [
        "sender",
        "stage",
        "code",
        "removed",
        "level",
        "at",
        "role",
        "lines_lost",
        "Body",
        "to",
        "TEXT",
    ]
)
_TEXTS = st.text(max_size=20) | st.lists(
    st.sampled_from(
        ["WhatsApp:", "messenger:", "+", "1415555", "0123", "%2B", "%2b", "://", "a", "@", " ", "ſ"]
    ),
    max_size=8,
).map("".join)
_FIELDS = st.dictionaries(
    _NAMES, _TEXTS | st.integers() | st.booleans() | st.none() | st.sampled_from(Stage), max_size=6
)


def _long_way(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the line that structlog's own steps write."""
    event: Any = {**fields, "event": "attempt"}
    event.setdefault("role", "gateway")
    event = structlog.processors.add_log_level(None, "info", event)
    event["at"] = "2026-11-21T03:09:31Z"
    event = refuse_personal_fields(None, "info", event)
    text = structlog.processors.JSONRenderer(ensure_ascii=False)(None, "info", event)
    text = _ADDRESS.sub(REMOVED, str(text))
    written: dict[str, Any] = json.loads(_PASSWORD.sub(f"://{REMOVED}@", text))
    return written


@given(_FIELDS)
def test_our_lines_are_those_that_all_steps_write(fields: dict[str, Any]) -> None:
    """Our JSON lines are made in one step, and differ in nothing from those of all the steps."""
    out = logging_to(io.StringIO(), format="json")
    get_log().info("attempt", **fields)
    get_log().info("attempt", **fields)
    expected = list(_long_way(fields).items())
    for line in lines(out):
        assert [(name, value) for name, value in line.items() if name != "at"] == [
            (name, value) for name, value in expected if name != "at"
        ]


@given(_TEXTS)
def test_a_line_is_scrubbed_wherever_a_pattern_matches(text: str) -> None:
    """A line that is sent on without a search has nothing that a search would find."""
    searched = _PASSWORD.sub(f"://{REMOVED}@", _ADDRESS.sub(REMOVED, text))
    assert scrub_line(None, "info", text) == searched


def test_a_trace_shows_no_local_variables() -> None:
    """A traceback shows no local variables, and an error's text is scrubbed like any other."""
    out = logging_to(io.StringIO(), format="console")

    def fail(hidden: str) -> None:
        raise ValueError(f"cannot send to {hidden}")

    try:
        fail(ADDRESS)
    except ValueError:
        get_log().exception("failed")
    assert "cannot send to [removed]" in out.getvalue()
    assert ADDRESS not in out.getvalue()


def test_a_person_has_one_label_for_each_key() -> None:
    """A person is a keyed digest: equal under the same key, different under another, never the
    address.
    """
    label = person_labels(b"log key")
    assert label("whatsapp:+525555550123") == label("whatsapp:+5215555550123")
    assert label(ADDRESS) == person_labels(b"log key")(ADDRESS)
    assert label(ADDRESS) != person_labels(b"another")(ADDRESS)
    assert label(ADDRESS) != label("whatsapp:+14155550124")
    assert len(label(ADDRESS)) == 16
    assert person_labels(None)(ADDRESS) != person_labels(None)(ADDRESS)


# -- a log that cannot be written ----------------------------------------------------------------

_LOGS = """
import logging, resource
from worker.telemetry.logs import configure_logs, get_log
from worker.settings.schema import LogSettings
configure_logs(LogSettings(format="json"))
"""


def _run(script: str, stderr: IO[Any], most_bytes: int | None = None) -> int:
    """Run lines of Python that log to `stderr`, a file with a limited size."""

    def bound() -> None:
        if most_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, resource.RLIM_INFINITY))

    command = [sys.executable, "-c", _LOGS + script]
    return subprocess.run(
        command, cwd=ROOT, stderr=stderr, preexec_fn=bound, timeout=60, check=False
    ).returncode


@pytest.mark.parametrize(
    "line", ['get_log().warning("x")', 'logging.getLogger("redis").warning("x")']
)
def test_a_full_disk_ends_nothing(line: str) -> None:
    """A line that cannot be written is lost without an error, and the process ends as usual."""
    with Path("/dev/full").open("w") as full:
        assert _run(f"for _ in range(1000): {line}", full) == 0


def test_a_log_goes_on_when_there_is_room_again_and_says_what_is_missing(tmp_path: Path) -> None:
    """After a full disk the cut line stands alone, and the next line counts the lost ones."""
    path = tmp_path / "log"
    script = """
for _ in range(20): get_log().warning("before", filler="x" * 100)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
for _ in range(2): get_log().warning("after")
"""
    with path.open("wb") as log:
        assert _run(script, log, most_bytes=1_050) == 0
    *before, cut, first, second = path.read_text().splitlines()
    assert all(json.loads(line)["event"] == "before" for line in before)
    with pytest.raises(ValueError):
        json.loads(cut)
    assert json.loads(first)["lines_lost"] == 20 - len(before)
    assert json.loads(second).keys().isdisjoint({"lines_lost"})


def test_a_log_without_a_reader_ends_nothing() -> None:
    """A collector that goes away loses the lines and ends nothing."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        assert _run('for _ in range(10): get_log().warning("x")', pipe) == 0


def test_a_closed_stream_ends_nothing() -> None:
    """A closed stream at the end of a process ends nothing."""
    out = logging_to(io.StringIO())
    out.close()
    get_log().warning("late")
    logging.getLogger("redis").warning("late")
