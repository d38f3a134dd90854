"""Loads the settings from `sendwindow.toml` and the environment, which overrides the file.

Secrets are given by reference. Everything is checked when the process starts.
"""

import hashlib
import hmac
import os
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

from policies.toml_reader import DataFault
from sendwindow.ids import name_complaint
from sendwindow.store_faults import place_of
from worker.settings import checks
from worker.settings.accounts import Account
from worker.settings.environment import (
    DATA_VARIABLE,
    FILE_VARIABLE,
    PREFIX,
    check_variables,
    without_service_links,
)
from worker.settings.reader import (
    ENVIRONMENT,
    ReadFile,
    SettingsError,
    SettingsReader,
)
from worker.settings.schema import (
    FLAT_SECTIONS,
    NAMED_SECTIONS,
    DispatchSettings,
    GatewaySettings,
    GuardSettings,
    LogSettings,
    PolicySettings,
    SenderSettings,
    SettingRule,
    StoreSettings,
    TemplateSettings,
    WordSettings,
    WrittenAccount,
    WrittenSender,
    WrittenTemplate,
)

DEFAULT_FILE: Final = "sendwindow.toml"
STORE_VARIABLE: Final = "REDIS_URL"
_DATA_FOLDER: Final = ".data"

T = TypeVar("T")


def _nothing() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of a process.

    The object is frozen. Its repr shows no secret and no person's address.
    """

    store: StoreSettings = field(default_factory=StoreSettings)
    store_url_from: str = "store.url"
    gateway: GatewaySettings = field(default_factory=GatewaySettings)
    accounts: Mapping[str, Account] = field(default_factory=_nothing)
    senders: Mapping[str, SenderSettings] = field(default_factory=_nothing)
    templates: Mapping[str, TemplateSettings] = field(default_factory=_nothing)
    policy: PolicySettings = field(default_factory=PolicySettings)
    words: WordSettings = field(default_factory=WordSettings)
    guards: GuardSettings = field(default_factory=GuardSettings)
    dispatch: DispatchSettings = field(default_factory=DispatchSettings)
    log: LogSettings = field(default_factory=LogSettings)

    @property
    def store_place(self) -> str:
        """Host and port of the store, or its socket, and the setting that names it. No password."""
        return place_of(self.store.url, self.store_url_from)

    @property
    def extra_words(self) -> Mapping[str, tuple[str, ...]]:
        """Phrases that are added to the policy data.

        The keys are the labels that `policies.keyword_data.parse_keywords` takes.
        """
        labels = {one.name: getattr(self.words, one.name) for one in fields(self.words)}
        return {label: texts for label, texts in labels.items() if texts}

    @property
    def queue_limits(self) -> Mapping[str, tuple[int, int]]:
        """Sender → how many messages may be queued for it, and for one campaign of it.

        0: any number.
        """
        guards = self.guards
        return {
            name: (
                guards.max_queued_per_sender if one.max_queued is None else one.max_queued,
                guards.max_queued_per_campaign
                if one.max_queued_per_campaign is None
                else one.max_queued_per_campaign,
            )
            for name, one in self.senders.items()
        }

    @property
    def log_key(self) -> bytes | None:
        """Key of the digests in logs, or None.

        It is the configured key, or else a key that is derived from `person_key`.
        """
        if self.store.log_key is not None:
            return self.store.log_key.encode()
        if self.store.person_key is None:
            return None
        return hmac.digest(self.store.person_key.encode(), b"sendwindow log key", hashlib.sha256)


def load_settings(
    path: Path | str | None, environ: Mapping[str, str], *, with_credentials: bool = True
) -> Settings:
    """Read the settings from a file and the environment.

    `path` None means the file that `SENDWINDOW_CONFIG` names, else `sendwindow.toml` in the current
    folder, else no file. `file:` references are relative to the folder of the settings file.

    If `with_credentials` is False, the accounts' secrets may be missing. Commands that send no
    requests to Twilio use this.

    If no store is configured, the folder of the embedded store is checked but not created.

    Raises SettingsError with every fault.
    """
    settings = _load(path, environ, with_credentials=with_credentials)
    fault = _data_folder_fault(environ) if settings.store.url is None else None
    if fault is not None:
        raise SettingsError([fault])
    return settings


def _load(
    path: Path | str | None, environ: Mapping[str, str], *, with_credentials: bool
) -> Settings:
    named = path if path is not None else environ.get(FILE_VARIABLE) or None
    file = Path(named if named is not None else DEFAULT_FILE)
    if named is None and not file.exists():
        return parse_settings({}, environ, _reading_in(Path()), with_credentials=with_credentials)
    try:
        data = tomllib.loads(file.read_text("utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        problem = f"cannot be read ({type(error).__name__})"
        remedy = (
            f"check the path, its permissions and that it is UTF-8; {FILE_VARIABLE} or --config "
            "names another file"
        )
        raise SettingsError([DataFault(str(file), "file", problem, remedy)]) from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(
            [DataFault(str(file), "file", f"is not TOML: {error}", "correct that line")]
        ) from error
    return parse_settings(
        data, environ, _reading_in(file.parent), str(file), with_credentials=with_credentials
    )


def data_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder of the embedded store and its person key.

    It is `.data` unless SENDWINDOW_DATA names another folder.
    """
    return Path(environ.get(DATA_VARIABLE) or _DATA_FOLDER).expanduser()


def _data_folder_fault(environ: Mapping[str, str]) -> DataFault | None:
    """Return why the data folder cannot hold an embedded store.

    Returns None when it can, or when the folder can still be created.
    """
    folder = data_folder(environ)
    remedy = "name a folder for the embedded store, or set store.url"
    there = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    if not there.is_dir():
        return DataFault(ENVIRONMENT, DATA_VARIABLE, f"{there} is a file, not a folder", remedy)
    if not os.access(there, os.W_OK | os.X_OK) and environ.get(DATA_VARIABLE):
        return DataFault(ENVIRONMENT, DATA_VARIABLE, f"{there} cannot be written", remedy)
    return None


def _reading_in(folder: Path) -> ReadFile:
    return lambda name: (folder / name).read_text("utf-8")


def parse_settings(
    data: Mapping[str, Any],
    environ: Mapping[str, str],
    read_file: ReadFile,
    file: str = DEFAULT_FILE,
    *,
    with_credentials: bool = True,
) -> Settings:
    """Build the settings from parsed TOML, the environment and a reader of `file:` references.

    Pure: `read_file` does all I/O.

    Raises SettingsError with every fault. Each fault names file, key and remedy.
    """
    reader = SettingsReader(
        file, without_service_links(environ), read_file, with_credentials=with_credentials
    )
    reader.unknown_keys(data, [*FLAT_SECTIONS, *NAMED_SECTIONS])
    check_variables(reader, data)
    settings = _read(reader, data)
    if reader.faults:
        raise SettingsError(reader.faults)
    return settings


def _read(reader: SettingsReader, data: Mapping[str, Any]) -> Settings:
    store = _flat(reader, data, "store", StoreSettings)
    if store.url is None and reader.environ.get(STORE_VARIABLE):
        store = replace(store, url=reader.environ[STORE_VARIABLE])
        reader.variables["store.url"] = STORE_VARIABLE
    gateway = _flat(reader, data, "gateway", GatewaySettings)
    if not gateway.public_url:
        gateway = replace(gateway, public_url=f"http://127.0.0.1:{gateway.port}")
    gateway = replace(gateway, public_url=gateway.public_url.rstrip("/"))
    guards = _flat(reader, data, "guards", GuardSettings)
    dispatch = _flat(reader, data, "dispatch", DispatchSettings)
    checks.check_proxy(reader, dispatch)
    written = _named(reader, data, "accounts", WrittenAccount)
    accounts = _present({name: checks.account(reader, name, one) for name, one in written.items()})
    if not reader.faults:
        proxies = {
            name: checks.proxy_for(reader, dispatch, one.base_url) for name, one in accounts.items()
        }
        accounts = MappingProxyType(
            {name: replace(one, proxy=proxies[name]) for name, one in accounts.items()}
        )
    known = reader.table(data.get("accounts", {}), "accounts")
    accounts_at_twilio = {
        name for name, one in written.items() if checks.is_twilio(one.base_url or "")
    }
    senders = _present(
        {
            name: checks.sender(
                reader, name, one, known, is_at_twilio=one.account in accounts_at_twilio
            )
            for name, one in _named(reader, data, "senders", WrittenSender).items()
        }
    )
    templates = {
        name: checks.template(reader, name, one)
        for name, one in _named(reader, data, "templates", WrittenTemplate).items()
    }
    checks.check_unique(reader, accounts, lambda one: one.account_sid, "accounts", "account_sid")
    checks.check_unique(
        reader, senders, lambda one: (one.account, one.address), "senders", "address"
    )
    checks.check_portfolios(reader, accounts)
    checks.check_store(reader, store)
    checks.check_gateway(reader, gateway, accounts)
    checks.check_guards(reader, guards)
    return Settings(
        store=store,
        store_url_from=reader.variables.get("store.url", "store.url"),
        gateway=gateway,
        accounts=accounts,
        senders=senders,
        templates=_present(templates),
        policy=_flat(reader, data, "policy", PolicySettings),
        words=_flat(reader, data, "words", WordSettings),
        guards=guards,
        dispatch=dispatch,
        log=_flat(reader, data, "log", LogSettings),
    )


F = TypeVar(
    "F",
    StoreSettings,
    GatewaySettings,
    PolicySettings,
    WordSettings,
    GuardSettings,
    DispatchSettings,
    LogSettings,
)


def _flat(reader: SettingsReader, data: Mapping[str, Any], name: str, shape: type[F]) -> F:
    table = reader.table(data.get(name, {}), name)
    return reader.section(shape, table, name, f"{PREFIX}{name.upper()}_")


N = TypeVar("N", WrittenAccount, WrittenSender, WrittenTemplate)


def _named(
    reader: SettingsReader, data: Mapping[str, Any], name: str, shape: type[N]
) -> dict[str, N]:
    found: dict[str, N] = {}
    for key, value in reader.table(data.get(name, {}), name).items():
        complaint = name_complaint(key)
        if complaint is not None:
            reader.fault(f'{name}."{key}"', *complaint)
        found[key] = reader.section(shape, reader.table(value, f"{name}.{key}"), f"{name}.{key}")
    return found


def _present(things: Mapping[str, T | None]) -> Mapping[str, T]:
    return MappingProxyType({name: thing for name, thing in things.items() if thing is not None})


def settings_table() -> str:
    """Return every setting as a Markdown table: key, type, default, description."""
    lines = ["| setting | type | default | what it is |", "|---|---|---|---|"]
    for section, shape in FLAT_SECTIONS.items():
        lines += _rows(section, shape)
    for section, shape in NAMED_SECTIONS.items():
        lines += _rows(f"{section}.NAME", shape)
    return "\n".join(lines) + "\n"


def _rows(section: str, shape: Any) -> list[str]:
    rows = []
    for member in fields(shape):
        rule: SettingRule = member.metadata["rule"]
        kind = f"{rule.kind}: {', '.join(rule.choices)}" if rule.choices else str(rule.kind)
        if rule.span:
            kind += f", {rule.span}"
        rows.append(
            f"| `{section}.{member.name}` | {kind} "
            f"| {_shown(member.default)} | {rule.description} |"
        )
    return rows


def _shown(default: object) -> str:
    if default is MISSING:
        return "required"
    if default is None or default in ("", ()):
        return "none"
    if isinstance(default, bool):
        return "`true`" if default else "`false`"
    if isinstance(default, tuple):
        return ", ".join(f"`{item}`" for item in default)
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"
