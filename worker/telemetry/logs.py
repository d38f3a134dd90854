"""Configures the logs of the whole process: JSON, or colours on a terminal.

The loggers of other libraries get the same format.

Two filters keep persons and secrets out. The value of a field with a personal name is removed, and
anything in the finished line that still looks like an address, or like a password in a URL, is cut.
They are only safety nets: no code may rely on them.
"""

import hashlib
import hmac
import io
import json
import logging
import re
import secrets
import sys
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Final, TextIO, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from worker.persons import SPELLINGS
from worker.runtime.clock import wall_now
from worker.settings.schema import LogSettings

PERSONAL_FIELDS: Final = frozenset(
    {
        "address",
        "auth_token",
        "api_secret",
        "authorization",
        "body",
        "button_payload",
        "button_text",
        "content_variables",
        "external_user_id",
        "form",
        "freeform",
        "from",
        "headers",
        "location",
        "log_key",
        "media_url",
        "params",
        "password",
        "payload",
        "person_key",
        "phone",
        "profile_name",
        "query",
        "raw",
        "recipient",
        "secret",
        "text",
        "to",
        "token",
        "variables",
        "wa_id",
    }
)
"""Fields that are never written. Their values are dropped, and the line lists their names."""

REMOVED: Final = "[removed]"

_ADDRESS: Final = re.compile(
    r"""(?:whatsapp|messenger):[^\s"'\\,;)}\]>&]+|(?:\+|%2B)[0-9]{7,15}""", re.IGNORECASE
)
_ADDRESS_MARKS: Final = ("whatsapp:", "messenger:", "+", "%2b")
"""Each match of `_ADDRESS` contains one of these, in small letters."""

_PASSWORD: Final = re.compile(r"""://[^\s/"'\\@]*@""")

# arq's worker logs every job with its arguments at INFO. It also logs each job that a short outage
# of the store cut off as an error with a stack trace. The dispatcher itself logs what matters about
# those. aiohttp logs every request.
_QUIET: Final = {
    "arq": logging.WARNING,
    "arq.worker": logging.CRITICAL,
    "aiohttp.access": logging.WARNING,
    "asyncio": logging.WARNING,
}
_LABEL_HEX_DIGITS: Final = 16


class LossyStream:
    """A stream that never raises when a line cannot be written.

    The disk may be full or the reader gone; that must not end the process. `lost` is the number of
    lines lost since the last line that was written.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        buffer = getattr(out, "buffer", None)
        raw = getattr(buffer, "raw", buffer)
        # Bypass the buffers where there are any. A line that failed would stay in the buffer and
        # fail again when the process ends.
        self._raw = raw if isinstance(raw, io.FileIO) else None
        self._is_torn = False
        self.lost = 0

    def write(self, line: str) -> None:
        """Write a line, or count it as lost."""
        try:
            if self._raw is None:
                self._out.write(line)
                self._out.flush()
            else:
                self._write_raw(self._raw, line.encode("utf-8", "backslashreplace"))
        except (OSError, ValueError):
            self.lost += 1
        else:
            self.lost = 0

    def flush(self) -> None:
        """Do nothing: every line is flushed when it is written."""

    def _write_raw(self, raw: io.FileIO, line: bytes) -> None:
        left = b"\n" + line if self._is_torn else line
        while left:
            written = raw.write(left)
            if not written:
                raise BlockingIOError
            self._is_torn = left[written - 1 : written] != b"\n"
            left = left[written:]

    def tell(self, _logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
        """Add the number of lost lines to the first line after a loss."""
        if self.lost:
            event_dict["lines_lost"] = self.lost
        return event_dict


class _JsonLine:
    """Makes a line of JSON from an event in one step, as the steps of other loggers would."""

    def __init__(self, context: Mapping[str, Any], lossy: LossyStream) -> None:
        self._context = dict(context)
        self._lossy = lossy
        self._encode = json.JSONEncoder(ensure_ascii=False, default=repr).encode
        # The names of fields are written in the code, so this set does not grow.
        self._impersonal: set[str] = set()

    def __call__(self, logger: WrappedLogger, method: str, event_dict: EventDict) -> str:
        for name, value in self._context.items():
            event_dict.setdefault(name, value)
        event_dict = structlog.processors.add_log_level(logger, method, event_dict)
        event_dict["at"] = wall_now().isoformat().replace("+00:00", "Z")
        event_dict = self._lossy.tell(logger, method, event_dict)
        if not event_dict.keys() <= self._impersonal:
            event_dict = refuse_personal_fields(logger, method, event_dict)
            self._impersonal.update(event_dict)
        event_dict = structlog.processors.format_exc_info(logger, method, event_dict)
        return scrub_line(logger, method, self._encode(event_dict))


def configure_logs(
    log: LogSettings, stream: TextIO | None = None, context: MutableMapping[str, Any] | None = None
) -> None:
    """Send the logs of this process to `stream` (standard error by default).

    `log` sets the format and the lowest level. `context` holds fields that every line gets, such as
    the role of the process. The loggers of other libraries use the same stream. Those that would
    log arguments are silent below warnings.
    """
    out = stream if stream is not None else sys.stderr
    lossy = LossyStream(out)
    # LossyStream has only the methods that structlog and logging call, not all of TextIO.
    lines = cast("TextIO", lossy)
    level = logging.getLevelNamesMapping()[log.level.upper()]
    is_json = log.format == "json" or (log.format == "auto" and not out.isatty())
    first: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _adding(dict(context or {})),
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        lossy.tell,
    ]
    last: list[Processor] = [
        refuse_personal_fields,
        *_rendering(is_json=is_json, colours=out.isatty()),
        scrub_line,
    ]
    # A worker writes a line for each message, so our own JSON lines take one step instead of eight.
    ours: list[Processor] = [_JsonLine(context or {}, lossy)] if is_json else [*first, *last]
    structlog.configure(
        processors=ours,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(lines),
        cache_logger_on_first_use=False,
    )
    _take_over_standard_logging(lines, level, first, last)


def get_log() -> FilteringBoundLogger:
    """Return a logger with the configuration that `configure_logs` set. Call that first."""
    # Bind it now: an unbound lazy logger would be built again for every line.
    log: FilteringBoundLogger = structlog.get_logger().bind()
    return log


def refuse_personal_fields(
    _logger: WrappedLogger, _method: str, event_dict: EventDict
) -> EventDict:
    """Remove every field in `PERSONAL_FIELDS` from a line, and list the removed names in it."""
    found = [name for name in event_dict if name.lower() in PERSONAL_FIELDS]
    for name in found:
        del event_dict[name]
    if found:
        event_dict["removed"] = sorted(found)
    return event_dict


def scrub_line(_logger: WrappedLogger, _method: str, line: Any) -> str:
    """Return a finished line without anything that looks like an address or URL credentials."""
    text = str(line)
    # The patterns look at every character. Nearly every line lacks what a match needs, and is sent
    # on without them. Other alphabets have letters that match ours, so their lines are not.
    if text.isascii():
        low = text.lower()
        if "@" not in low and not any(mark in low for mark in _ADDRESS_MARKS):
            return text
    return _PASSWORD.sub(f"://{REMOVED}@", _ADDRESS.sub(REMOVED, text))


def person_labels(key: bytes | None) -> Callable[[str], str]:
    """Return the function that computes a person's label for logs.

    A label is a digest of the address under the log key, as 16 hex digits. Every spelling of an
    address has the same label.

    The log key differs from the store's person key, so that a reader of the logs cannot identify
    persons in the store. Without a log key, a random one is used, and labels differ between
    processes.
    """
    used = key or secrets.token_bytes(32)

    def label(address: str) -> str:
        return hmac.digest(used, SPELLINGS.canonical(address).encode(), hashlib.sha256).hex()[
            :_LABEL_HEX_DIGITS
        ]

    return label


def _adding(context: dict[str, Any]) -> Processor:
    def add(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
        for name, value in context.items():
            event_dict.setdefault(name, value)
        return event_dict

    return add


def _rendering(*, is_json: bool, colours: bool) -> list[Processor]:
    if is_json:
        return [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ]
    # Without local variables, because they may contain message texts and tokens.
    plain = structlog.dev.plain_traceback
    return [
        structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=plain, timestamp_key="at")
    ]


def _take_over_standard_logging(
    out: TextIO, level: int, first: list[Processor], last: list[Processor]
) -> None:
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*first, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    for other in root.handlers[:]:
        root.removeHandler(other)
    root.addHandler(handler)
    root.setLevel(level)
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(max(level, least))
    logging.captureWarnings(capture=True)
