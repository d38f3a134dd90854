"""Every setting that exists: its key, type, default and description.

It only declares values. `reader.py` parses them, and `checks.py` checks them.

The table in docs/settings.md is generated from these fields, so a setting without a description
cannot exist.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from policies.facts import Approval
from sendwindow.vocabulary import Category, Channel


class Kind(StrEnum):
    """How a setting is written in TOML and in the environment."""

    TEXT = "text"
    REFERENCE = "secret"
    URL = "URL or secret"
    INTEGER = "integer"
    NUMBER = "number"
    CHOICE = "one of"
    TEXTS = "list of texts"
    PHRASES = "list of phrases"
    ADDRESSES = "list of addresses"
    REFERENCES = "list of secrets"
    FLAG = "true or false"
    TABLE = "table"


@dataclass(frozen=True, slots=True)
class SettingRule:
    """What a setting accepts. `pattern` must match the whole text, and `shape` describes it."""

    kind: Kind
    description: str
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    pattern: str | None = None
    shape: str = ""
    required: bool = False

    @property
    def span(self) -> str:
        """The accepted numbers, least to most. Empty when every number is accepted."""
        return "" if self.least is None else f"{self.least} to {self.most}"


_NO_DEFAULT: Final = object()


def _setting(kind: Kind, description: str, default: Any = _NO_DEFAULT, **rule: Any) -> Any:
    metadata = {"rule": SettingRule(kind, description, required=default is _NO_DEFAULT, **rule)}
    hidden = kind in {Kind.REFERENCE, Kind.REFERENCES, Kind.URL, Kind.ADDRESSES}
    if default is _NO_DEFAULT:
        return field(metadata=metadata, repr=not hidden)
    return field(default=default, metadata=metadata, repr=not hidden)


_SID: Final = "[0-9a-fA-F]{32}"


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """[store]: the Redis that holds all data."""

    url: str | None = _setting(
        Kind.URL,
        "`redis://`, `rediss://`, `unix://` or `sentinel://`; with a password only as `env:` "
        "or `file:`. "
        "Absent: `REDIS_URL`, else an embedded store",
        None,
    )
    partition: str = _setting(
        Kind.TEXT,
        "Hash tag of every key; one for everything unless you split by account",
        "p0",
        pattern=r"[a-z0-9_-]{1,32}",
        shape="1 to 32 of a-z 0-9 _ -",
    )
    person_key: str | None = _setting(
        Kind.REFERENCE,
        "Key of the digests that name persons in the store; never change it. Needed with `url`",
        None,
    )
    log_key: str | None = _setting(
        Kind.REFERENCE,
        "Key of the digests that name persons in logs. Absent: derived from `person_key`",
        None,
    )
    durability: str = _setting(
        Kind.TEXT,
        "`none`, or `wait:N`: no POST and no 2xx before N replicas have the write",
        "none",
        pattern=r"none|wait:[1-9]",
        shape="none or wait:N with N from 1 to 9",
    )


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """[gateway]: where Twilio reaches the gateway."""

    public_url: str = _setting(
        Kind.TEXT,
        "What Twilio was told, without `/twilio/…`; signatures are checked against it. "
        "Absent: `http://127.0.0.1:<port>`, for the sandbox only",
        "",
    )
    host: str = _setting(Kind.TEXT, "Address to listen on", "127.0.0.1")
    port: int = _setting(
        Kind.INTEGER, "Port to listen on; 0: any free one", 8080, least=0, most=65535
    )
    max_body_bytes: int = _setting(
        Kind.INTEGER,
        "Largest callback that counts whole. Up to four times as large, its short parameters "
        "count; beyond that 413",
        1_048_576,
        least=1_024,
        most=1_048_576,
    )
    timeout_seconds: float = _setting(
        Kind.NUMBER,
        "Longest time for one request, the store included; Twilio gives up after 15",
        12.0,
        least=1,
        most=15,
    )


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """[policy]: overrides of the dated policy data. None means that the data's value applies."""

    messenger_account_update: str | None = _setting(
        Kind.CHOICE,
        "Messenger outside the window: risk one message a Page to learn whether ACCOUNT_UPDATE "
        "still works, or never. "
        "Absent: `attempt`",
        None,
        choices=("attempt", "refuse"),
    )
    margin_seconds: int | None = _setting(
        Kind.INTEGER,
        "How long before a window's edge a template is preferred. Absent: 300",
        None,
        least=0,
        most=3_600,
    )


@dataclass(frozen=True, slots=True)
class WordSettings:
    """[words]: phrases in addition to those in `policies/data/`.

    They never remove a phrase that is shipped.
    """

    stop: tuple[str, ...] = _setting(
        Kind.PHRASES, "More words that are a stop as a whole message or sentence", ()
    )
    start: tuple[str, ...] = _setting(
        Kind.PHRASES, "More words that undo a stop, as a whole message", ()
    )
    suspected: tuple[str, ...] = _setting(
        Kind.PHRASES,
        "More phrases inside a sentence that may mean stop: marketing is held until a person "
        "has looked",
        (),
    )
    ignored: tuple[str, ...] = _setting(
        Kind.PHRASES,
        "More phrases inside a sentence that never mean stop, whatever stop word is in them",
        (),
    )


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """[guards]: limits that the operator sets. `allow_recipients` None allows every recipient."""

    allow_recipients: tuple[str, ...] | None = _setting(
        Kind.ADDRESSES,
        "Only these addresses are sent to (staging), in any spelling. Absent: everyone",
        None,
    )
    per_person_per_day: int = _setting(
        Kind.INTEGER, "Most messages to one person in 24 h; 0: no cap", 0, least=0, most=10_000
    )


@dataclass(frozen=True, slots=True)
class DispatchSettings:
    """[dispatch]: how a worker sends, and where it serves its health endpoints."""

    slots: int = _setting(
        Kind.INTEGER, "POSTs a worker has under way at once", 25, least=1, most=1_000
    )
    lease_seconds: float = _setting(
        Kind.NUMBER,
        "How long a silent worker keeps its messages; renewed while it works",
        7.0,
        least=1,
        most=300,
    )
    connect_timeout: float = _setting(
        Kind.NUMBER,
        "Seconds to reach Twilio; beyond that nothing was sent",
        5.0,
        least=0.1,
        most=30,
    )
    read_timeout: float = _setting(
        Kind.NUMBER,
        "Seconds for Twilio's answer; beyond that the outcome is unknown",
        30.0,
        least=0.1,
        most=120,
    )
    keepalive_seconds: float = _setting(
        Kind.NUMBER,
        "How long an idle connection to Twilio is kept; longer than Twilio or a proxy keeps it "
        "makes unknowns. "
        "0: a connection for each request",
        15.0,
        least=0,
        most=300,
    )
    proxy: str | None = _setting(
        Kind.URL,
        "`http://host:port` of the proxy to Twilio; with a password only as `env:` or `file:`. "
        "Absent: `HTTPS_PROXY`, for `https` alone",
        None,
    )
    no_proxy: tuple[str, ...] | None = _setting(
        Kind.ADDRESSES,
        "Hosts and domains that are reached without the proxy. Absent: `NO_PROXY`",
        None,
    )
    grace_seconds: float = _setting(
        Kind.NUMBER,
        "How long a stopping worker finishes what is under way; less than `connect_timeout` "
        "and `read_timeout` together makes unknowns of slow POSTs at a deploy",
        25.0,
        least=0,
        most=600,
    )
    health_host: str = _setting(
        Kind.TEXT, "Address on which `run` answers `/health/live` and `/health/ready`", "127.0.0.1"
    )
    health_port: int = _setting(
        Kind.INTEGER, "Its port; 0: none. The workers of `up` have none", 0, least=0, most=65535
    )


@dataclass(frozen=True, slots=True)
class LogSettings:
    """[log]: what a process writes to standard error."""

    level: str = _setting(
        Kind.CHOICE,
        "Least level that is written",
        "info",
        choices=("debug", "info", "warning", "error"),
    )
    format: str = _setting(
        Kind.CHOICE,
        "`auto`: colours on a terminal, else JSON",
        "auto",
        choices=("auto", "json", "console"),
    )


FLAT_SECTIONS: Final[Mapping[str, type]] = MappingProxyType(
    {
        "store": StoreSettings,
        "gateway": GatewaySettings,
        "policy": PolicySettings,
        "words": WordSettings,
        "guards": GuardSettings,
        "dispatch": DispatchSettings,
        "log": LogSettings,
    }
)
"""Sections whose keys the environment may override one by one."""

# The Written classes hold named sections as written. A required value is None where it cannot be
# read.


@dataclass(frozen=True, slots=True)
class WrittenAccount:
    """[accounts.NAME]: a Twilio account and its credentials."""

    account_sid: str | None = _setting(
        Kind.TEXT, "The account's SID", pattern="AC" + _SID, shape="AC and 32 hex digits"
    )
    auth_token: str | None = _setting(
        Kind.REFERENCE, "Signs callbacks; also logs in without `api_key`", None
    )
    api_key: str | None = _setting(
        Kind.TEXT,
        "API key to log in with (recommended)",
        None,
        pattern="SK" + _SID,
        shape="SK and 32 hex digits",
    )
    api_secret: str | None = _setting(Kind.REFERENCE, "Secret of `api_key`", None)
    webhook_tokens: tuple[str, ...] = _setting(
        Kind.REFERENCES,
        "Auth Tokens that may sign callbacks, two while rotating. Absent: `auth_token`",
        (),
    )
    base_url: str = _setting(
        Kind.TEXT, "Where the Messages API is; the sandbox's URL to try", "https://api.twilio.com"
    )


@dataclass(frozen=True, slots=True)
class WrittenSender:
    """[senders.NAME]: a "From" identity."""

    account: str | None = _setting(Kind.TEXT, "Name of the account it belongs to")
    address: str | None = _setting(
        Kind.TEXT, "`whatsapp:+…`, `messenger:<page id>`, `+…`, a short code or an alphanumeric id"
    )
    channel: str | None = _setting(
        Kind.CHOICE,
        "Follows from `address`; when given, it must match",
        None,
        choices=tuple(Channel),
    )
    messaging_service_sid: str | None = _setting(
        Kind.TEXT,
        "Messaging service it is in",
        None,
        pattern="MG" + _SID,
        shape="MG and 32 hex digits",
    )


@dataclass(frozen=True, slots=True)
class WrittenTemplate:
    """[templates.NAME]: a WhatsApp template and its ContentSid per language."""

    category: str | None = _setting(Kind.CHOICE, "Category Meta assigned", choices=tuple(Category))
    languages: Mapping[str, Any] | None = _setting(
        Kind.TABLE,
        'Language to ContentSid: `en = "HX…"` (approved), or '
        '`{ sid = "HX…", approval = "paused", body = "…{{1}}…" }`; '
        "`body`, the approved text, lets an unknown outcome be proven by Twilio's list",
    )
    variables: tuple[str, ...] = _setting(Kind.TEXTS, "Names of all its variables", ())
    needs_phone: bool = _setting(
        Kind.FLAG, "Not for a BSUID; no authentication template is, whatever stands here", False
    )
    channels: tuple[str, ...] = _setting(Kind.TEXTS, "Channels it may go out on", ("whatsapp",))


NAMED_SECTIONS: Final[Mapping[str, type]] = MappingProxyType(
    {"accounts": WrittenAccount, "senders": WrittenSender, "templates": WrittenTemplate}
)
"""Sections that hold named tables. The environment reaches them only by `env:` references."""


@dataclass(frozen=True, slots=True)
class SenderSettings:
    """A configured "From" identity."""

    name: str
    account: str
    channel: Channel
    address: str
    messaging_service_sid: str | None = None


@dataclass(frozen=True, slots=True)
class TemplateLanguage:
    """A template in one language: its ContentSid, its configured approval, and its approved text.

    `body` is None where the text is not configured.
    """

    sid: str
    approval: Approval = Approval.APPROVED
    body: str | None = None


@dataclass(frozen=True, slots=True)
class TemplateSettings:
    """A configured template. `languages` is never empty."""

    name: str
    category: Category
    variables: frozenset[str]
    languages: Mapping[str, TemplateLanguage]
    needs_phone: bool = False
    channels: frozenset[Channel] = frozenset({Channel.WHATSAPP})
