"""Builds accounts, senders and templates from their written form, and checks their relations."""

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from policies.facts import Approval
from policies.rate_limits import (
    ACCOUNT_PER_SECOND,
    MAX_PER_SECOND,
    MIN_PER_SECOND,
    PAIR,
    Pace,
    default_per_second,
    pace,
)
from policies.rendering import placeholders
from policies.toml_reader import closest
from sendwindow.addresses import (
    RECIPIENT_FORMS,
    SENDER_FORMS,
    AddressError,
    parse_address,
    parse_sender_address,
)
from sendwindow.limits import MAX_VARIABLES, variable_complaints
from sendwindow.validators import LANGUAGE
from sendwindow.vocabulary import Category, Channel
from worker.settings.accounts import Account
from worker.settings.reader import SettingsReader
from worker.settings.schema import (
    DispatchSettings,
    GatewaySettings,
    GuardSettings,
    SenderSettings,
    StoreSettings,
    TemplateLanguage,
    TemplateSettings,
    WrittenAccount,
    WrittenSender,
    WrittenTemplate,
)

_CONTENT_SID: Final = re.compile(r"HX[0-9a-fA-F]{32}")
MIN_KEY_CHARACTERS: Final = 16
PROXY_VARIABLE: Final = "HTTPS_PROXY"
NO_PROXY_VARIABLE: Final = "NO_PROXY"
_CALLED: Final = re.compile(r"/twilio/(status|inbound)$")


def account(reader: SettingsReader, name: str, written: WrittenAccount) -> Account | None:
    """Build an account: its login, and the tokens that sign its callbacks.

    Returns None when a required value is missing; the reader then has the fault.
    """
    key = f"accounts.{name}"
    check_url(reader, f"{key}.base_url", written.base_url)
    if (written.api_key is None) != (written.api_secret is None):
        missing = "api_secret" if written.api_key else "api_key"
        reader.missing(key, missing, "api_key and api_secret go together: set both or none")
        return None
    password = written.api_secret or written.auth_token
    tokens = written.webhook_tokens or ((written.auth_token,) if written.auth_token else ())
    if password is None:
        remedy = "set auth_token, or api_key and api_secret"
        reader.missing(key, "auth_token", remedy, instead=("api_key", "api_secret"))
        return None
    if not tokens:
        remedy = "an API key never signs callbacks: set auth_token or webhook_tokens"
        reader.missing(key, "webhook_tokens", remedy, instead=("auth_token",))
        return None
    if written.account_sid is None:
        return None
    per_second = written.messages_per_second
    if per_second is None and is_twilio(written.base_url):
        per_second = ACCOUNT_PER_SECOND
    return Account(
        name=name,
        account_sid=written.account_sid,
        username=written.api_key or written.account_sid,
        password=password,
        base_url=written.base_url.rstrip("/"),
        webhook_tokens=tokens,
        pace=_pace(reader, key, per_second),
        max_open_posts=written.max_open_posts,
        portfolio=written.portfolio or name,
        people_per_day=written.people_per_day,
    )


def sender(
    reader: SettingsReader,
    name: str,
    written: WrittenSender,
    accounts: Mapping[str, Any],
    *,
    is_at_twilio: bool,
) -> SenderSettings | None:
    """Build a sender. Its channel follows from its address.

    `accounts` holds every account in the file, also those with faults. `is_at_twilio`: the sender's
    account reaches Twilio itself, so the rates that Twilio documents hold unless others are set.
    Returns None when the sender cannot be used; the reader then has the fault.
    """
    key = f"senders.{name}"
    if written.account is not None and written.account not in accounts:
        reader.fault(
            f"{key}.account",
            f'there is no account "{written.account}"',
            closest(written.account, accounts),
        )
    if written.address is None:
        return None
    try:
        address = parse_sender_address(written.address)
    except AddressError:
        reader.fault(f"{key}.address", "is not a sender's address", f"write {SENDER_FORMS}")
        return None
    channel = address.channel
    if written.channel is not None and written.channel != channel:
        reader.fault(
            f"{key}.channel",
            f"does not match the address, which is {channel}",
            f'write "{channel}" or drop it',
        )
    if written.account is None:
        return None
    per_second, has_pair_limit = written.messages_per_second, written.pair_limit
    if per_second is None and is_at_twilio:
        per_second = default_per_second(address)
    if has_pair_limit is None:
        has_pair_limit = is_at_twilio
    return SenderSettings(
        name,
        written.account,
        channel,
        written.address,
        written.messaging_service_sid,
        pace=_pace(reader, key, per_second),
        pair_pace=PAIR if has_pair_limit and channel is Channel.WHATSAPP else None,
        per_second=per_second,
        max_queued=written.max_queued,
        max_queued_per_campaign=written.max_queued_per_campaign,
    )


def _pace(reader: SettingsReader, key: str, per_second: float | None) -> Pace | None:
    if per_second is None:
        return None
    if 0 < per_second < MIN_PER_SECOND:
        reader.fault(
            f"{key}.messages_per_second",
            "is too slow",
            f"write {MIN_PER_SECOND} to {MAX_PER_SECOND}, or 0 for no limit",
        )
    return pace(per_second) if per_second > 0 else None


def template(
    reader: SettingsReader, name: str, written: WrittenTemplate
) -> TemplateSettings | None:
    """Build a template with its ContentSid per language.

    A ContentSid without an approval counts as approved. Returns None when the template cannot be
    used; the reader then has the fault.
    """
    key = f"templates.{name}"
    languages: dict[str, TemplateLanguage] = {}
    for language, value in (written.languages or {}).items():
        found = _language(reader, f"{key}.languages.{language}", language, value)
        _check_body(reader, f"{key}.languages.{language}.body", found, written.variables)
        if found is not None:
            languages[language] = found
    if written.languages is not None and not written.languages:
        reader.fault(f"{key}.languages", "is empty", 'name at least one: en = "HX…"')
    for variable in written.variables:
        if any(variable_complaints({variable: "x"})):
            reader.fault(
                f"{key}.variables",
                f'"{variable}" is not a variable name',
                "use 1 to 16 letters or digits",
            )
    if len(written.variables) > MAX_VARIABLES:
        reader.fault(f"{key}.variables", "are too many", f"a template has at most {MAX_VARIABLES}")
    for channel in written.channels:
        if channel not in tuple(Channel):
            reader.fault(
                f"{key}.channels",
                f'there is no channel "{channel}"',
                closest(channel, tuple(Channel)),
            )
    known = frozenset(channel for channel in Channel if channel in written.channels)
    if not languages or not known or written.category is None:
        return None
    return TemplateSettings(
        name,
        Category(written.category),
        frozenset(written.variables),
        languages,
        written.needs_phone,
        known,
    )


def _language(
    reader: SettingsReader, key: str, language: str, value: object
) -> TemplateLanguage | None:
    if not LANGUAGE.fullmatch(language):
        reader.fault(key, "is not a language code", "write it as WhatsApp does: en, en_US, pt_BR")
    table: Mapping[str, Any] = value if isinstance(value, Mapping) else {"sid": value}
    reader.unknown_keys(table, ("sid", "approval", "body"), f"{key}.")
    sid, approval, body = (
        table.get("sid"),
        table.get("approval", Approval.APPROVED.value),
        table.get("body"),
    )
    if not isinstance(sid, str) or not _CONTENT_SID.fullmatch(sid):
        reader.fault(key, "has no ContentSid", "write HX and 32 hex digits")
        return None
    if approval not in tuple(Approval):
        reader.fault(
            f"{key}.approval", "is not an approval status", closest(str(approval), tuple(Approval))
        )
        return None
    if body is not None and not (isinstance(body, str) and body.strip()):
        reader.fault(
            f"{key}.body", "is not a text", "write the approved body, with its placeholders: {{1}}"
        )
        return None
    return TemplateLanguage(sid, Approval(approval), body)


def _check_body(
    reader: SettingsReader, key: str, language: TemplateLanguage | None, variables: tuple[str, ...]
) -> None:
    """Record a fault for each placeholder that is not among the variables.

    No message can fill such a placeholder, so the text could never be compared with Twilio's.
    """
    for name in sorted(
        placeholders(language.body if language and language.body else "") - set(variables)
    ):
        reader.fault(
            key, f'"{name}" is not among the variables', "add it there, or correct the placeholder"
        )


def check_unique(
    reader: SettingsReader,
    things: Mapping[str, Any],
    what: Callable[[Any], object],
    section: str,
    key: str,
) -> None:
    """Record a fault for each entry of a section whose `what` an earlier entry already has."""
    seen: dict[object, str] = {}
    for name, thing in things.items():
        first = seen.setdefault(what(thing), name)
        if first != name:
            reader.fault(
                f"{section}.{name}.{key}",
                f"is the same as that of {section}.{first}",
                "keep one of the two",
            )


def check_portfolios(reader: SettingsReader, accounts: Mapping[str, Account]) -> None:
    """Record a fault for each account whose limit is not that of others in its portfolio."""
    first: dict[str, Account] = {}
    for name, account in accounts.items():
        other = first.setdefault(account.portfolio, account)
        if other.people_per_day != account.people_per_day:
            reader.fault(
                f"accounts.{name}.people_per_day",
                f"differs from that of accounts.{other.name}, which has the same portfolio",
                "write the same number in both",
            )


def check_store(reader: SettingsReader, store: StoreSettings) -> None:
    """Check the store's URL and the keys of the digests. Faults go to the reader."""
    if store.url is not None:
        if not store.url.startswith(("redis://", "rediss://", "unix://", "sentinel://")):
            reader.fault(
                "store.url",
                "is not a Redis URL",
                "write redis://, rediss://, unix:// or sentinel://",
            )
        if store.person_key is None:
            reader.missing(
                "store",
                "person_key",
                "the store identifies persons by a keyed digest: make a key with "
                "`openssl rand -hex 32`, keep it, and write env:NAME",
            )
    for key, value in (("person_key", store.person_key), ("log_key", store.log_key)):
        if value is not None and len(value) < MIN_KEY_CHARACTERS:
            reader.fault(
                f"store.{key}",
                "is too short",
                f"use at least {MIN_KEY_CHARACTERS} random characters",
            )
    if store.person_key is not None and store.person_key == store.log_key:
        reader.fault(
            "store.log_key", "is the same as person_key", "use another key, or leave it out"
        )


def check_gateway(
    reader: SettingsReader, gateway: GatewaySettings, accounts: Mapping[str, Account]
) -> None:
    """Check the public URL. Faults go to the reader.

    It must be https unless its host is private, and must not contain what the gateway adds to it.
    When an account is at Twilio, Twilio must be able to reach it.
    """
    parts = check_url(reader, "gateway.public_url", gateway.public_url)
    if parts is None:
        return
    if parts.query or parts.fragment:
        reader.fault(
            "gateway.public_url", "has a query or fragment", "write scheme, host and path only"
        )
    if "_" in (parts.hostname or ""):
        reader.fault(
            "gateway.public_url",
            "has an underscore in its host",
            "Twilio refuses such a callback URL (21609)",
        )
    if called := _CALLED.search(parts.path):
        reader.fault(
            "gateway.public_url",
            f"ends in {called[0]}",
            "leave that out: the path that Twilio calls is added to the URL",
        )
    at_twilio = next((name for name, one in accounts.items() if is_twilio(one.base_url)), None)
    if at_twilio and is_private(parts.hostname or ""):
        reader.fault(
            "gateway.public_url",
            f"is not reachable from outside, but accounts.{at_twilio} is at Twilio",
            "write the public https URL that Twilio can call",
        )


def check_guards(reader: SettingsReader, guards: GuardSettings) -> None:
    """Check that every entry of the allow-list is a recipient's address.

    A fault names an entry by its number, because an address must not appear in it.
    """
    if guards.allow_recipients == ():
        reader.fault(
            "guards.allow_recipients",
            "is empty",
            "list the addresses that may be sent to, or leave it out to allow every address",
        )
    for index, address in enumerate(guards.allow_recipients or ()):
        try:
            parse_address(address)
        except AddressError:
            reader.fault(
                f"guards.allow_recipients[{index}]",
                "is not a recipient's address",
                f"write {RECIPIENT_FORMS}",
            )


def check_url(reader: SettingsReader, key: str, url: str) -> SplitResult | None:
    """Check an http(s) URL: no credentials, and https unless its host is private.

    Faults go to the reader. Returns None when the URL is unusable.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        parts = SplitResult("", "", "", "", "")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        reader.fault(key, "is not an http(s) URL", "write https://host or https://host/path")
        return None
    if parts.username or parts.password:
        reader.fault(
            key,
            "has a user or password in it",
            "remove them: credentials have settings of their own",
        )
        return None
    if parts.scheme == "http" and not is_private(parts.hostname):
        reader.fault(
            key,
            "is not https",
            "write https://; plain http is for loopback and names without a dot only",
        )
    return parts


def is_private(host: str) -> bool:
    """Return whether a host is loopback, or a bare name as in container networks."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return "." not in host


def check_proxy(reader: SettingsReader, dispatch: DispatchSettings) -> None:
    """Check the proxy of the settings or, if they name none, the proxy of the environment."""
    key = "dispatch.proxy" if dispatch.proxy else PROXY_VARIABLE
    url = dispatch.proxy or _variable(reader, PROXY_VARIABLE)
    if not url:
        return
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable:
        reader.fault(
            key,
            "is not the URL of an HTTP proxy",
            "write http://host:port, or env:NAME when it has a password",
        )


def proxy_for(reader: SettingsReader, dispatch: DispatchSettings, base_url: str) -> str | None:
    """Return the proxy for requests to a base URL, or None.

    `HTTPS_PROXY` and `NO_PROXY` mean the same as in other programs. `dispatch.proxy` also applies
    to `http`.
    """
    parts = urlsplit(base_url)
    excluded = (
        ",".join(dispatch.no_proxy)
        if dispatch.no_proxy is not None
        else _variable(reader, NO_PROXY_VARIABLE)
    )
    if _is_excluded(parts, excluded):
        return None
    return (
        dispatch.proxy
        or (_variable(reader, PROXY_VARIABLE) if parts.scheme == "https" else "")
        or None
    )


def _is_excluded(parts: SplitResult, excluded: str) -> bool:
    """Return whether a list such as NO_PROXY contains a host.

    An entry is the host itself, its domain, its network, or `*`.
    """
    host = (parts.hostname or "").lower()
    for entry in (one.strip().lower() for one in excluded.split(",")):
        domain = entry.removeprefix("*").lstrip(".")
        if entry == "*" or domain in (host, f"{host}:{parts.port}"):
            return True
        if domain and host.endswith(f".{domain}"):
            return True
        try:
            if ipaddress.ip_address(host) in ipaddress.ip_network(entry):
                return True
        except ValueError:
            continue
    return False


def _variable(reader: SettingsReader, name: str) -> str:
    return reader.environ.get(name.lower()) or reader.environ.get(name) or ""


def is_twilio(base_url: str) -> bool:
    """Return whether a base URL points to the real Twilio."""
    host = urlsplit(base_url).hostname or ""
    return host == "twilio.com" or host.endswith(".twilio.com")
