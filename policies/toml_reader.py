"""Reads parsed TOML into typed values, and collects every fault with file, key and remedy.

This is the only place that does. The policy data and the settings of `worker/settings` both use it.
It opens no files, and no fault repeats a value, which could be a secret or an address.
"""

import datetime as dt
import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeVar

E = TypeVar("E", bound=Enum)
T = TypeVar("T")

EPOCH_DATE: Final = dt.date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class DataFault:
    """A problem in a file, and its remedy."""

    file: str
    key: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}: {self.key}: {self.problem}; {self.remedy}"


class PolicyDataError(ValueError):
    """The policy data is invalid. `faults` lists every fault, and the error text joins them."""

    def __init__(self, faults: Sequence[DataFault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(map(str, self.faults)))


class UnusableError(Exception):
    """A value cannot be read. Its reader knows file and key, and turns it into a fault."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy


def closest(word: str, known: Iterable[str]) -> str:
    """Return a question that names the most similar known word, or a list of the known words."""
    names = sorted(known)
    near = difflib.get_close_matches(word.lower(), names, n=1)
    if near:
        return f'did you mean "{near[0]}"?'
    return f"known: {', '.join(names)}" if names else "none is configured"


def read_table(value: object, remedy: str) -> Mapping[str, Any]:
    """Return a table. Raises UnusableError."""
    if not isinstance(value, Mapping):
        raise UnusableError("is not a table", remedy)
    return value


def read_text(value: object) -> str:
    """Return a text without the space around it. Raises UnusableError if nothing is left."""
    if not isinstance(value, str) or not value.strip():
        raise UnusableError("is not a text", "write it between quotes, not empty")
    return value.strip()


def read_items(value: object, problem: str, remedy: str) -> tuple[object, ...]:
    """Return a list of any items. Raises UnusableError with this problem and remedy."""
    if not isinstance(value, list | tuple):
        raise UnusableError(problem, remedy)
    return tuple(value)


def read_texts(value: object) -> tuple[str, ...]:
    """Return a list of texts, which may have none. Raises UnusableError."""
    if not isinstance(value, list | tuple) or not all(
        isinstance(item, str) and item.strip() for item in value
    ):
        raise UnusableError("is not a list of texts", 'write ["one", "two"]')
    return tuple(item.strip() for item in value)


def read_flag(value: object) -> bool:
    """Return true or false. Raises UnusableError."""
    if not isinstance(value, bool):
        raise UnusableError("is not true or false", "write true or false without quotes")
    return value


def read_whole(value: object, least: float | None, most: float | None) -> int:
    """Return a whole number from `least` to `most`, both included. Raises UnusableError."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise UnusableError("is not a whole number", wanted_number("a whole number", least, most))
    _check_range(value, "a whole number", least, most)
    return value


def read_number(value: object, least: float | None, most: float | None) -> float:
    """Return a number from `least` to `most`, both included. Raises UnusableError."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnusableError("is not a number", wanted_number("a number", least, most))
    _check_range(value, "a number", least, most)
    return float(value)


def read_date(value: object) -> dt.date:
    """Return a calendar date. Raises UnusableError."""
    if type(value) is not dt.date:
        raise UnusableError("is not a date", "write one such as 2026-11-20, without quotes or time")
    return value


def read_choice(value: object, choices: Iterable[str]) -> str:
    """Return one of the texts in `choices`. Raises UnusableError."""
    names = tuple(choices)
    text = value.strip() if isinstance(value, str) else ""
    if text not in names:
        raise UnusableError("is not one of the choices", closest(text, names))
    return text


def wanted_number(kind: str, least: float | None, most: float | None) -> str:
    """Return the remedy for a value that is not a number of this range."""
    return f"write {kind}" if least is None else f"write {kind} from {least} to {most}"


def _not_empty(items: tuple[T, ...]) -> tuple[T, ...]:
    if not items:
        raise UnusableError("is empty", "write at least one")
    return items


def _check_range(value: float, kind: str, least: float | None, most: float | None) -> None:
    # NaN compares false with everything, so with this form of the test it is out of range too.
    if least is not None and most is not None and not least <= value <= most:
        raise UnusableError("is out of range", wanted_number(kind, least, most))


class Table:
    """One table of a parsed TOML file.

    A method that finds an invalid value records a fault and returns a placeholder. `done` reports
    the keys that were never read.
    """

    def __init__(self, file: str, path: str, data: object, faults: list[DataFault]) -> None:
        self._file = file
        self._path = path
        self._faults = faults
        self._seen: set[str] = set()
        self._data: Mapping[str, Any] = {}
        try:
            self._data = read_table(data, "write it as TOML key = value lines")
        except UnusableError as unusable:
            problem = "is missing" if data is None else unusable.problem
            self._add(path or "file", problem, unusable.remedy)

    def fault(self, key: str, wanted: str) -> None:
        """Record that `key` is invalid. `wanted` completes the phrase "write …"."""
        self._add(self._where(key), "is not valid", f"write {wanted}")

    def has(self, key: str) -> bool:
        """Return whether the table has the key."""
        return key in self._data

    @property
    def keys(self) -> tuple[str, ...]:
        """All keys of the table."""
        return tuple(self._data)

    def peek(self, key: str) -> object:
        """Return a raw value, or None if it is absent. The key still counts as unread."""
        return self._data.get(key)

    def table(self, key: str) -> "Table":
        """Return a table inside this one."""
        return Table(self._file, self._where(key), self._take(key), self._faults)

    def tables(self, key: str) -> tuple["Table", ...]:
        """Return an array of tables."""

        def read(value: object) -> tuple[object, ...]:
            return read_items(value, "is not a list of tables", f"write [[{key}]]")

        none: tuple[object, ...] = ()
        items = self._read(key, read, None, none)
        where = self._where(key)
        return tuple(
            Table(self._file, f"{where}[{n}]", item, self._faults) for n, item in enumerate(items)
        )

    def text(self, key: str, *, default: str | None = None) -> str:
        """Return a text that is not empty."""
        return self._read(key, read_text, default, "")

    def texts(self, key: str) -> tuple[str, ...]:
        """Return an array of at least one text."""

        def read(value: object) -> tuple[str, ...]:
            return _not_empty(read_texts(value))

        return self._read(key, read, None, ())

    def items(self, key: str) -> tuple[object, ...]:
        """Return an array of at least one item of any type."""

        def read(value: object) -> tuple[object, ...]:
            return _not_empty(read_items(value, "is not a list", "write [1, 2]"))

        return self._read(key, read, None, ())

    def whole(self, key: str, *, least: int, most: int, default: int | None = None) -> int:
        """Return a whole number from `least` to `most`, both included."""
        return self._read(key, lambda value: read_whole(value, least, most), default, least)

    def seconds(
        self, key: str, *, least: int = 1, most: int = 400 * 86400, default: int | None = None
    ) -> dt.timedelta:
        """Return a duration, which the file gives in whole seconds."""
        return dt.timedelta(seconds=self.whole(key, least=least, most=most, default=default))

    def truth(self, key: str, *, default: bool = False) -> bool:
        """Return true or false."""
        return self._read(key, read_flag, default, default)

    def date(self, key: str) -> dt.date:
        """Return a calendar date."""
        return self._read(key, read_date, None, EPOCH_DATE)

    def date_or_none(self, key: str) -> dt.date | None:
        """Return a calendar date, or None if it is absent."""
        return self.date(key) if self.has(key) else None

    def choice(self, key: str, options: type[E], *, default: E | None = None) -> E:
        """Return the member of an enum that the value names."""
        members = {str(option.value): option for option in options}
        return self._read(
            key,
            lambda value: members[read_choice(value, members)],
            default,
            next(iter(options)),
        )

    def done(self) -> None:
        """Record a fault for every unread key, so that a misspelled setting is not ignored."""
        for key in self._data:
            if key not in self._seen:
                self._add(self._where(key), "there is no such key", closest(key, self._seen))

    def _read(self, key: str, read: Callable[[object], T], default: T | None, placeholder: T) -> T:
        self._seen.add(key)
        value = self._data.get(key)
        if value is None and default is not None:
            return default
        try:
            return read(value)
        except UnusableError as unusable:
            problem = "is missing" if value is None else unusable.problem
            self._add(self._where(key), problem, unusable.remedy)
            return placeholder

    def _take(self, key: str) -> object:
        self._seen.add(key)
        return self._data.get(key)

    def _add(self, where: str, problem: str, remedy: str) -> None:
        self._faults.append(DataFault(self._file, where, problem, remedy))

    def _where(self, key: str) -> str:
        return f"{self._path}.{key}" if self._path else key


def raise_faults(faults: Sequence[DataFault]) -> None:
    """Raise `PolicyDataError` if there is any fault."""
    if faults:
        raise PolicyDataError(faults)
