"""Reads parsed TOML tables strictly and collects every fault with file, key and remedy.

Does not open files itself.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TypeVar, cast

E = TypeVar("E", bound=Enum)

EPOCH_DATE = dt.date(1970, 1, 1)


class PolicyDataError(ValueError):
    """The policy data is invalid.

    `faults` lists every fault with file, key and remedy. The error text joins them.
    """

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults))


class Table:
    """One table of a parsed TOML file.

    A method that finds an invalid value records a fault and returns a placeholder. `done` reports
    the keys that were never read.
    """

    def __init__(self, file: str, path: str, data: object, faults: list[str]) -> None:
        self._file = file
        self._path = path
        self._faults = faults
        self._seen: set[str] = set()
        self._data: Mapping[str, object] = {}
        if isinstance(data, Mapping):
            self._data = cast(Mapping[str, object], data)
        else:
            faults.append(
                f"{file}: {path or 'file'}: expected a table; write it as TOML key = value lines"
            )

    def fault(self, key: str, expected: str) -> None:
        """Record that `key` is invalid. `expected` completes the phrase "expected …"."""
        self._faults.append(
            f"{self._file}: {self._where(key)}: expected {expected}; correct it in {self._file}"
        )

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

    def _take(self, key: str) -> object:
        self._seen.add(key)
        return self._data.get(key)

    def table(self, key: str) -> "Table":
        """Return a table inside this one."""
        return Table(self._file, self._where(key), self._take(key), self._faults)

    def tables(self, key: str) -> tuple["Table", ...]:
        """Return an array of tables."""
        value = self._take(key)
        if not isinstance(value, Sequence) or isinstance(value, str):
            self.fault(key, f"an array of tables, [[{key}]]")
            return ()
        where = self._where(key)
        return tuple(
            Table(self._file, f"{where}[{n}]", item, self._faults) for n, item in enumerate(value)
        )

    def text(self, key: str, *, default: str | None = None) -> str:
        """Return a text that is not empty."""
        value = self._take(key)
        if value is None and default is not None:
            return default
        if isinstance(value, str) and value.strip():
            return value
        self.fault(key, "a text that is not empty")
        return default or ""

    def texts(self, key: str) -> tuple[str, ...]:
        """Return an array of at least one text."""
        value = self._take(key)
        if isinstance(value, Sequence) and not isinstance(value, str):
            texts = tuple(item for item in value if isinstance(item, str))
            if texts and len(texts) == len(value):
                return texts
        self.fault(key, "an array of texts, at least one")
        return ()

    def items(self, key: str) -> tuple[object, ...]:
        """Return an array of at least one item of any type."""
        value = self._take(key)
        if isinstance(value, Sequence) and not isinstance(value, str) and value:
            return tuple(value)
        self.fault(key, "an array, at least one item")
        return ()

    def whole(self, key: str, *, least: int, most: int, default: int | None = None) -> int:
        """Return a whole number from `least` to `most`, both included."""
        value = self._take(key)
        if value is None and default is not None:
            return default
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return value
        self.fault(key, f"a whole number from {least} to {most}")
        return least

    def seconds(
        self, key: str, *, least: int = 1, most: int = 400 * 86400, default: int | None = None
    ) -> dt.timedelta:
        """Return a duration, which the file gives in whole seconds."""
        return dt.timedelta(seconds=self.whole(key, least=least, most=most, default=default))

    def truth(self, key: str, *, default: bool = False) -> bool:
        """Return true or false."""
        value = self._take(key)
        if value is None:
            return default
        if isinstance(value, bool):
            return value
        self.fault(key, "true or false")
        return default

    def date(self, key: str) -> dt.date:
        """Return a calendar date."""
        found = self.date_or_none(key)
        if found is None:
            if not self.has(key):
                self.fault(key, "a date such as 2026-11-20")
            return EPOCH_DATE
        return found

    def date_or_none(self, key: str) -> dt.date | None:
        """Return a calendar date, or None if it is absent."""
        value = self._take(key)
        if value is None:
            return None
        if type(value) is dt.date:
            return value
        self.fault(key, "a date such as 2026-11-20, without quotes and time")
        return None

    def choice(self, key: str, options: type[E], *, default: E | None = None) -> E:
        """Return the member of an enum that the value names."""
        value = self._take(key)
        if value is None and default is not None:
            return default
        for option in options:
            if value == option.value:
                return option
        self.fault(key, "one of " + ", ".join(str(option.value) for option in options))
        return next(iter(options))

    def done(self) -> None:
        """Record a fault for every unread key, so that a misspelled setting is not ignored."""
        for key in self._data:
            if key not in self._seen:
                self._faults.append(
                    f"{self._file}: {self._where(key)}: "
                    "unknown key; remove it or correct its spelling"
                )

    def _where(self, key: str) -> str:
        return f"{self._path}.{key}" if self._path else key


def raise_faults(faults: Sequence[str]) -> None:
    """Raise `PolicyDataError` if there is any fault."""
    if faults:
        raise PolicyDataError(faults)
