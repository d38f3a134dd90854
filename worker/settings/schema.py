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
from policies.rate_limits import MAX_PER_SECOND, Pace
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

MAX_QUEUED: Final = 1_000_000_000
"""The largest limit of a queue, in messages."""


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """[store]: the Redis that holds all data."""

    url: str | None = _setting(
        Kind.URL,
        "`redis://`, `rediss://`, `unix://` or `sentinel://`. A URL with a password "
        "must come from `env:` or `file:`. If not set: `REDIS_URL`, otherwise an "
        "embedded store",
        None,
    )
    partition: str = _setting(
        Kind.TEXT,
        "Hash tag of every key. Use one partition for everything unless you split by account",
        "p0",
        pattern=r"[a-z0-9_-]{1,32}",
        shape="1 to 32 of a-z 0-9 _ -",
    )
    person_key: str | None = _setting(
        Kind.REFERENCE,
        "Key of the digests that identify persons in the store. Required with `url`. "
        "Never change it",
        None,
    )
    log_key: str | None = _setting(
        Kind.REFERENCE,
        "Key of the digests that identify persons in logs. If not set: derived from `person_key`",
        None,
    )
    durability: str = _setting(
        Kind.TEXT,
        "`none`, or `wait:N`: no POST and no 2xx until N replicas have acknowledged the write",
        "none",
        pattern=r"none|wait:[1-9]",
        shape="none or wait:N with N from 1 to 9",
    )


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """[gateway]: where Twilio reaches the gateway."""

    public_url: str = _setting(
        Kind.TEXT,
        "The URL that Twilio calls, without `/twilio/…`. Signatures are checked "
        "against it. If not set: `http://127.0.0.1:<port>`, which works only with the "
        "sandbox",
        "",
    )
    host: str = _setting(Kind.TEXT, "Address to listen on", "127.0.0.1")
    port: int = _setting(
        Kind.INTEGER, "Port to listen on. 0 takes any free port", 8080, least=0, most=65535
    )
    max_body_bytes: int = _setting(
        Kind.INTEGER,
        "Largest callback that is read completely. Of a callback up to four times as "
        "large, only the short parameters are read. A larger one gets 413",
        1_048_576,
        least=1_024,
        most=1_048_576,
    )
    timeout_seconds: float = _setting(
        Kind.NUMBER,
        "Longest time for one request, including the store. Twilio gives up after 15 seconds",
        12.0,
        least=1,
        most=15,
    )


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """[policy]: overrides of the dated policy data. None means that the data's value applies."""

    messenger_account_update: str | None = _setting(
        Kind.CHOICE,
        "Messenger outside the session window: `attempt` risks one message per Page to "
        "learn whether ACCOUNT_UPDATE still works, `refuse` sends none. If not set: "
        "`attempt`",
        None,
        choices=("attempt", "refuse"),
    )
    margin_seconds: int | None = _setting(
        Kind.INTEGER,
        "How long before the session window closes the worker prefers a template. If not set: 300",
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
        Kind.PHRASES,
        "Additional words that mean stop when they are a whole message or sentence",
        (),
    )
    start: tuple[str, ...] = _setting(
        Kind.PHRASES, "Additional words that undo a stop when they are the whole message", ()
    )
    suspected: tuple[str, ...] = _setting(
        Kind.PHRASES,
        "Additional phrases that may mean stop when they occur in a sentence. "
        "Marketing to the person is held until an operator decides",
        (),
    )
    ignored: tuple[str, ...] = _setting(
        Kind.PHRASES,
        "Additional phrases in a sentence that never mean stop, even if they contain a stop word",
        (),
    )


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """[guards]: limits that the operator sets. `allow_recipients` None allows every recipient."""

    allow_recipients: tuple[str, ...] | None = _setting(
        Kind.ADDRESSES,
        "The only addresses that messages may go to, in any spelling (for staging). If "
        "not set: every address",
        None,
    )
    per_person_per_day: int = _setting(
        Kind.INTEGER,
        "Maximum number of messages to one person in 24 hours. 0 means no cap",
        0,
        least=0,
        most=10_000,
    )
    max_queued_per_sender: int = _setting(
        Kind.INTEGER,
        "How many messages may be queued for one sender, unless its own table says it. More get "
        "`QueueFull`. 0 means any number",
        0,
        least=0,
        most=MAX_QUEUED,
    )
    max_queued_per_campaign: int = _setting(
        Kind.INTEGER,
        "The same for one campaign of a sender",
        0,
        least=0,
        most=MAX_QUEUED,
    )


@dataclass(frozen=True, slots=True)
class DispatchSettings:
    """[dispatch]: how a worker sends, and where it serves its health endpoints."""

    slots: int = _setting(
        Kind.INTEGER, "How many POSTs a worker may have open at once", 25, least=1, most=1_000
    )
    lease_seconds: float = _setting(
        Kind.NUMBER,
        "How long a worker that has stopped responding keeps its messages. A live "
        "worker renews its leases",
        7.0,
        least=1,
        most=300,
    )
    connect_timeout: float = _setting(
        Kind.NUMBER,
        "Seconds to wait for a connection to Twilio. After a timeout nothing was sent",
        5.0,
        least=0.1,
        most=30,
    )
    read_timeout: float = _setting(
        Kind.NUMBER,
        "Seconds to wait for Twilio's reply. After a timeout the outcome is unknown",
        30.0,
        least=0.1,
        most=120,
    )
    keepalive_seconds: float = _setting(
        Kind.NUMBER,
        "How long to keep an idle connection to Twilio. If Twilio or a proxy closes it "
        "earlier, outcomes become unknown. 0 opens a connection for each request",
        15.0,
        least=0,
        most=300,
    )
    proxy: str | None = _setting(
        Kind.URL,
        "`http://host:port` of the proxy to Twilio. A URL with a password must come "
        "from `env:` or `file:`. If not set: `HTTPS_PROXY`, for `https` only",
        None,
    )
    no_proxy: tuple[str, ...] | None = _setting(
        Kind.ADDRESSES,
        "Hosts and domains to reach without the proxy. If not set: `NO_PROXY`",
        None,
    )
    grace_seconds: float = _setting(
        Kind.NUMBER,
        "How long a stopping worker may finish its open work. If it is shorter than "
        "`connect_timeout` plus `read_timeout`, a deploy can make slow POSTs unknown",
        25.0,
        least=0,
        most=600,
    )
    health_host: str = _setting(
        Kind.TEXT, "Address on which `run` serves `/health/live` and `/health/ready`", "127.0.0.1"
    )
    health_port: int = _setting(
        Kind.INTEGER,
        ("Port on which `run` serves them. 0 disables them. The workers of `up` have none"),
        0,
        least=0,
        most=65535,
    )


@dataclass(frozen=True, slots=True)
class LogSettings:
    """[log]: what a process writes to standard error."""

    level: str = _setting(
        Kind.CHOICE,
        "Lowest level that is written",
        "info",
        choices=("debug", "info", "warning", "error"),
    )
    format: str = _setting(
        Kind.CHOICE,
        "`auto` writes colours to a terminal and JSON elsewhere",
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
        Kind.REFERENCE,
        ("Verifies the signatures of callbacks. Also used to log in when there is no `api_key`"),
        None,
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
        "Auth Tokens that may sign callbacks. List two while you rotate them. If not "
        "set: `auth_token`",
        (),
    )
    base_url: str = _setting(
        Kind.TEXT,
        "URL of the Messages API. Set it to the sandbox's URL to try things out",
        "https://api.twilio.com",
    )
    messages_per_second: float | None = _setting(
        Kind.NUMBER,
        "Most messages of the account in any second, SMS in segments. 0 means no limit. If not "
        "set: 2000 where base_url is Twilio's, and otherwise no limit",
        None,
        least=0,
        most=MAX_PER_SECOND,
    )
    max_open_posts: int = _setting(
        Kind.INTEGER,
        "How many POSTs all workers together may have open for the account. Twilio answers 20429 "
        "above a number that it does not document. 0 means no limit",
        0,
        least=0,
        most=100_000,
    )
    people_per_day: int = _setting(
        Kind.INTEGER,
        "To how many people the WhatsApp senders of the portfolio may write outside an open window "
        "in 24 hours: Meta grants 250, 2000, 10000 or 100000. 0 means no limit",
        0,
        least=0,
        most=100_000,
    )
    portfolio: str | None = _setting(
        Kind.TEXT,
        "Name of the business portfolio, the same for all accounts that share it. If not set: the "
        "name of the account",
        None,
        pattern="[A-Za-z0-9_-]{1,64}",
        shape="1 to 64 letters, digits, _ or -",
    )


@dataclass(frozen=True, slots=True)
class WrittenSender:
    """[senders.NAME]: a "From" identity."""

    account: str | None = _setting(Kind.TEXT, "Name of the account that the sender belongs to")
    address: str | None = _setting(
        Kind.TEXT, "`whatsapp:+…`, `messenger:<page id>`, `+…`, a short code or an alphanumeric id"
    )
    channel: str | None = _setting(
        Kind.CHOICE,
        "Derived from `address`. If you set it, it must match",
        None,
        choices=tuple(Channel),
    )
    messaging_service_sid: str | None = _setting(
        Kind.TEXT,
        "SID of the messaging service that the sender belongs to",
        None,
        pattern="MG" + _SID,
        shape="MG and 32 hex digits",
    )
    messages_per_second: float | None = _setting(
        Kind.NUMBER,
        "Most messages of the sender in any second, SMS in segments. 0 means no limit. If not "
        "set: 80 for WhatsApp, 100 for a short code, 3 for a toll-free number, 1 for any other "
        "number in +1, and otherwise no limit. None of these holds where the account's base_url "
        "is not Twilio's",
        None,
        least=0,
        most=MAX_PER_SECOND,
    )
    pair_limit: bool | None = _setting(
        Kind.FLAG,
        "WhatsApp: send one person one message in 6 seconds, after 45 at once. If not set: true "
        "where the account's base_url is Twilio's",
        None,
    )
    max_queued: int | None = _setting(
        Kind.INTEGER,
        "How many messages may be queued for the sender. If not set: "
        "`guards.max_queued_per_sender`",
        None,
        least=0,
        most=MAX_QUEUED,
    )
    max_queued_per_campaign: int | None = _setting(
        Kind.INTEGER,
        "How many may be queued for one campaign of it. If not set: "
        "`guards.max_queued_per_campaign`",
        None,
        least=0,
        most=MAX_QUEUED,
    )


@dataclass(frozen=True, slots=True)
class WrittenTemplate:
    """[templates.NAME]: a WhatsApp template and its ContentSid per language."""

    category: str | None = _setting(
        Kind.CHOICE, "Category that Meta assigned", choices=tuple(Category)
    )
    languages: Mapping[str, Any] | None = _setting(
        Kind.TABLE,
        'ContentSid of each language: `en = "HX…"` (approved), or `{ sid = "HX…", '
        'approval = "paused", body = "…{{1}}…" }`. With `body`, the approved text, '
        "Twilio's list can prove an unknown outcome",
    )
    variables: tuple[str, ...] = _setting(Kind.TEXTS, "Names of all variables of the template", ())
    needs_phone: bool = _setting(
        Kind.FLAG,
        (
            "Never send it to a BSUID. Authentication templates never go to a BSUID, "
            "whatever this says"
        ),
        False,
    )
    channels: tuple[str, ...] = _setting(
        Kind.TEXTS, "Channels that may carry the template", ("whatsapp",)
    )


NAMED_SECTIONS: Final[Mapping[str, type]] = MappingProxyType(
    {"accounts": WrittenAccount, "senders": WrittenSender, "templates": WrittenTemplate}
)
"""Sections that hold named tables. The environment reaches them only by `env:` references."""


@dataclass(frozen=True, slots=True)
class SenderSettings:
    """A configured "From" identity.

    `pace`: None means that nothing limits the sender. `pair_pace`: the same of each person.
    `per_second`: the limit that `pace` keeps, for people.
    """

    name: str
    account: str
    channel: Channel
    address: str
    messaging_service_sid: str | None = None
    pace: Pace | None = None
    pair_pace: Pace | None = None
    per_second: float | None = None
    max_queued: int | None = None
    max_queued_per_campaign: int | None = None


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
