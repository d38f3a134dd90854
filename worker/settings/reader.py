"""Reads the sections of the settings: from the file, from the environment, and by reference.

`policies.toml_reader` reads the values. A fault names file, key and remedy, and never repeats a
value that could be a secret or an address.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from policies.toml_reader import (
    DataFault,
    UnusableError,
    closest,
    read_choice,
    read_flag,
    read_number,
    read_table,
    read_text,
    read_texts,
    read_whole,
    wanted_number,
)
from worker.settings.schema import Kind, SettingRule

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")

ReadFile = Callable[[str], str]
"""Reads the text of a `file:` reference; raises OSError or UnicodeDecodeError."""

ENVIRONMENT: Final = "environment"


class SettingsError(Exception):
    """The settings cannot be used. `faults` holds every fault that was found."""

    def __init__(self, faults: Iterable[DataFault]) -> None:
        self.faults = tuple(faults)
        many = "1 fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        super().__init__(
            "\n".join([f"{many} in the settings:", *(f"  {fault}" for fault in self.faults)])
        )


class _UnreadableSecretError(UnusableError):
    """A reference points to a secret that is not available here."""


UNREAD: Final = "unread"
"""Replaces an account's secret when a command that needs no credentials cannot read it.

It is not a valid credential.
"""


@dataclass(slots=True)
class SettingsReader:
    """Reads the tables of one file. The environment overrides the file. Collects `faults`.

    `unusable` holds the keys that are written but whose values cannot be read. Each has a fault of
    its own, so it is not reported as missing.

    `variables` maps each key whose value came from the environment to its variable. The faults of
    such a key name the variable.

    If `with_credentials` is False, an account's secret that cannot be read becomes `UNREAD`. So a
    command that only queries the store runs on a machine that has no Twilio secrets.
    """

    file: str
    environ: Mapping[str, str]
    read_file: ReadFile
    faults: list[DataFault] = field(default_factory=list)
    unusable: set[str] = field(default_factory=set)
    variables: dict[str, str] = field(default_factory=dict)
    with_credentials: bool = True

    def fault(self, key: str, problem: str, remedy: str, file: str | None = None) -> None:
        """Record a fault. Reading continues, so that all faults are found at once."""
        setting, bracket, index = key.partition("[")
        if setting in self.variables:
            key, file = f"{self.variables[setting]}{bracket}{index}", ENVIRONMENT
        self.faults.append(DataFault(file or self.file, key, problem, remedy))

    def missing(self, table: str, key: str, remedy: str, *, instead: Iterable[str] = ()) -> None:
        """Record that a setting is missing.

        Does nothing if the setting, or one that may replace it (`instead`), is written but
        unusable: that is already a fault.
        """
        if not self.unusable.intersection(f"{table}.{name}" for name in (key, *instead)):
            self.fault(f"{table}.{key}", "is missing", remedy)

    def table(self, value: object, key: str) -> Mapping[str, Any]:
        """Return a TOML table. Any other value is recorded as a fault and returned as empty."""
        try:
            return read_table(value, f"write it as [{key}]")
        except UnusableError as unusable:
            self.fault(key, unusable.problem, unusable.remedy)
            return {}

    def unknown_keys(
        self, table: Mapping[str, Any], known: Iterable[str], prefix: str = ""
    ) -> None:
        """Record a fault for every key that is not a setting."""
        names = tuple(known)
        for key in table:
            if key not in names:
                self.fault(f"{prefix}{key}", "there is no such setting", closest(str(key), names))

    def section(
        self, shape: type[T], table: Mapping[str, Any], prefix: str, variables: str = ""
    ) -> T:
        """Parse one table into its dataclass.

        A required value that is missing or unusable becomes None, and its fault is recorded.

        `variables` is the prefix of the environment variables that override the file, such as
        `SENDWINDOW_STORE_`.
        """
        members = fields(shape)
        self.unknown_keys(table, [member.name for member in members], f"{prefix}.")
        found: dict[str, Any] = {}
        for member in members:
            value = self._member(member, table, prefix, variables)
            if value is not MISSING:
                found[member.name] = value
            elif member.default is MISSING:
                found[member.name] = None
        return shape(**found)

    def _member(
        self, member: Field[Any], table: Mapping[str, Any], prefix: str, variables: str
    ) -> Any:
        rule: SettingRule = member.metadata["rule"]
        variable = variables + member.name.upper()
        try:
            if variables and variable in self.environ:
                self.variables[f"{prefix}.{member.name}"] = variable
                return _from_text(rule, self.environ[variable], self)
            if member.name in table:
                return _from_file(rule, table[member.name], self)
        except UnusableError as unusable:
            if isinstance(unusable, _UnreadableSecretError) and not self._needs(prefix):
                return (UNREAD,) if rule.kind is Kind.REFERENCES else UNREAD
            self.unusable.add(f"{prefix}.{member.name}")
            self.fault(f"{prefix}.{member.name}", unusable.problem, unusable.remedy)
            return MISSING
        if rule.required:
            self.fault(
                f"{prefix}.{member.name}",
                "is missing",
                f"set it to: {rule.shape or rule.description}",
            )
        return MISSING

    def _needs(self, prefix: str) -> bool:
        return self.with_credentials or not prefix.startswith("accounts.")

    def secret(self, text: str) -> str:
        """Return the secret behind an `env:NAME` or `file:PATH` reference.

        Raises UnusableError when there is none.
        """
        kind, _, name = text.partition(":")
        if kind == "env" and name:
            value = self.environ.get(name, "")
            if not value.strip():
                raise _UnreadableSecretError(
                    f"the environment variable {name} is not set or empty", f"set {name}"
                )
            return value.strip()
        if kind == "file" and name:
            try:
                value = self.read_file(name)
            except (OSError, UnicodeDecodeError) as error:
                raise _UnreadableSecretError(
                    f"the file {name} cannot be read ({type(error).__name__})",
                    "check its path, permissions and encoding",
                ) from error
            if not value.strip():
                raise _UnreadableSecretError(
                    f"the file {name} is empty", "write the secret into it"
                )
            return value.strip()
        raise UnusableError(
            "a secret must not be written here",
            "write env:NAME or file:PATH and keep the secret there",
        )


def _from_file(rule: SettingRule, value: object, reader: SettingsReader) -> Any:
    match rule.kind:
        case Kind.REFERENCE:
            return reader.secret(read_text(value))
        case Kind.URL:
            return _store_url(read_text(value), reader)
        case Kind.REFERENCES:
            return tuple(reader.secret(item) for item in read_texts(value))
        case Kind.TEXTS | Kind.ADDRESSES | Kind.PHRASES:
            return read_texts(value)
        case Kind.TABLE:
            return read_table(value, rule.description)
        case Kind.FLAG:
            return read_flag(value)
        case Kind.INTEGER | Kind.NUMBER:
            return _number(rule, value)
        case Kind.TEXT | Kind.CHOICE:
            return _checked(rule, read_text(value))


def _from_text(rule: SettingRule, value: str, reader: SettingsReader) -> Any:
    """Parse an environment variable. It may hold a secret itself. Lists are split at commas."""
    text = value.strip()
    match rule.kind:
        case Kind.REFERENCE:
            if not text:
                raise UnusableError("is empty", "set it or unset the variable")
            return reader.secret(text) if text.startswith(("env:", "file:")) else text
        case Kind.URL:
            return reader.secret(text) if text.startswith(("env:", "file:")) else text or None
        case Kind.ADDRESSES | Kind.PHRASES:
            if not text and rule.kind is Kind.ADDRESSES:
                raise UnusableError(
                    "is empty", "list addresses between commas, or unset the variable"
                )
            return tuple(item.strip() for item in text.split(",") if item.strip())
        case Kind.INTEGER | Kind.NUMBER:
            try:
                return _number(rule, int(text) if rule.kind is Kind.INTEGER else float(text))
            except ValueError as error:
                kind = "a whole number" if rule.kind is Kind.INTEGER else "a number"
                remedy = wanted_number(kind, rule.least, rule.most)
                raise UnusableError("is not a number", remedy) from error
        case Kind.TEXT | Kind.CHOICE:
            return _checked(rule, text)
        case Kind.TEXTS | Kind.REFERENCES | Kind.TABLE | Kind.FLAG:
            raise UnusableError("cannot be set here", "set it in the file")


def _number(rule: SettingRule, value: object) -> float | int:
    read = read_whole if rule.kind is Kind.INTEGER else read_number
    return read(value, rule.least, rule.most)


def _checked(rule: SettingRule, text: str) -> str:
    if rule.choices:
        return read_choice(text, rule.choices)
    if rule.pattern and not re.fullmatch(rule.pattern, text):
        raise UnusableError("does not have the right format", f"write {rule.shape}")
    return text


def _store_url(text: str, reader: SettingsReader) -> str:
    if text.startswith(("env:", "file:")):
        return reader.secret(text)
    try:
        has_password = bool(urlsplit(text).password)
    except ValueError as error:
        raise UnusableError(
            "is not a URL", "write redis://host:6379/0, rediss://… or unix:///path"
        ) from error
    if has_password or "password=" in text:
        raise UnusableError(
            "a password must not be written here",
            "write env:NAME or file:PATH and keep the URL there",
        )
    return text
