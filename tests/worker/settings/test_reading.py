"""What the settings accept, and the text of every fault."""

import tomllib
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from policies.facts import Approval
from policies.policy import FILES, AccountUpdate, parse_policy
from sendwindow.errors import InvalidMessage
from sendwindow.protocol import prepare
from sendwindow.vocabulary import Category, Channel
from worker.settings.checks import is_twilio
from worker.settings.reader import SettingsError
from worker.settings.schema import FLAT_SECTIONS, NAMED_SECTIONS
from worker.settings.settings import Settings, load_settings, parse_settings, settings_table
from worker.wiring import load_rules

POLICY_DATA = Path(__file__).resolve().parents[3] / "policies" / "data"
TOKEN = "f0e1d2c3b4a5968778695a4b3c2d1e0f"
ENVIRON = {
    "TWILIO_AUTH_TOKEN": TOKEN,
    "API_SECRET": "the-api-secret-of-main",
    "PERSON_KEY": "person-key-0123456789",
    "STORE": "redis://:store-password@db.internal:6379/0",
}


def example() -> dict[str, Any]:
    """Return settings that use every section."""
    return {
        "store": {"url": "env:STORE", "person_key": "env:PERSON_KEY", "durability": "wait:2"},
        "gateway": {"public_url": "https://hooks.example.com/sw/"},
        "accounts": {
            "main": {
                "account_sid": "AC" + "1" * 32,
                "auth_token": "env:TWILIO_AUTH_TOKEN",
                "api_key": "SK" + "2" * 32,
                "api_secret": "env:API_SECRET",
            }
        },
        "senders": {
            "shop": {
                "account": "main",
                "address": "whatsapp:+14155550100",
                "messaging_service_sid": "MG" + "3" * 32,
            },
            "page": {"account": "main", "address": "messenger:1234567890"},
            "alerts": {"account": "main", "address": "+14155550101"},
            "brand": {"account": "main", "address": "ACME"},
        },
        "templates": {
            "order_update": {
                "category": "UTILITY",
                "variables": ["1", "2"],
                "languages": {
                    "en": "HX" + "4" * 32,
                    "pt_BR": {"sid": "HX" + "5" * 32, "approval": "paused", "body": "{{1}} {{2}}"},
                },
            }
        },
        "guards": {"allow_recipients": ["whatsapp:+14155550123"]},
    }


def no_file(name: str) -> str:
    """Read no file at all."""
    raise FileNotFoundError(name)


def parse(data: Mapping[str, Any], environ: Mapping[str, str] = ENVIRON) -> Settings:
    """Parse with the environment of this file and without any other file."""
    return parse_settings(data, environ, no_file)


def faults_of(data: Mapping[str, Any], environ: Mapping[str, str] = ENVIRON) -> list[str]:
    """Parse invalid settings and return the faults as text."""
    with pytest.raises(SettingsError) as caught:
        parse(data, environ)
    return [str(fault) for fault in caught.value.faults]


def changed(section: str, *path: str, to: object) -> dict[str, Any]:
    """Return the example with one value changed."""
    data = example()
    table = data.setdefault(section, {})
    for name in path[:-1]:
        table = table[name]
    table[path[-1]] = to
    return data


def test_a_whole_configuration_is_read() -> None:
    """Accounts, senders, templates and sections arrive typed, with channel and login derived."""
    settings = parse(example())
    account = settings.accounts["main"]
    assert (account.username, account.password) == ("SK" + "2" * 32, ENVIRON["API_SECRET"])
    assert account.webhook_tokens == (TOKEN,)
    assert settings.store.durability == "wait:2"
    assert settings.gateway.public_url == "https://hooks.example.com/sw"
    channels = {name: sender.channel for name, sender in settings.senders.items()}
    assert channels == {
        "shop": Channel.WHATSAPP,
        "page": Channel.MESSENGER,
        "alerts": Channel.SMS,
        "brand": Channel.SMS,
    }
    template = settings.templates["order_update"]
    assert template.category is Category.UTILITY
    assert {name: one.approval for name, one in template.languages.items()} == {
        "en": Approval.APPROVED,
        "pt_BR": Approval.PAUSED,
    }
    assert {name: one.body for name, one in template.languages.items()} == {
        "en": None,
        "pt_BR": "{{1}} {{2}}",
    }
    assert all(is_twilio(account.base_url) for account in settings.accounts.values())


def test_nothing_configured_is_a_usable_configuration() -> None:
    """Without a file every setting has its default, for the embedded store and the sandbox."""
    settings = parse_settings({}, {}, no_file)
    assert settings.store.url is None
    assert settings.store.durability == "none"
    assert settings.gateway.public_url == "http://127.0.0.1:8080"
    assert not settings.accounts
    assert settings.log_key is None


def test_redis_url_names_the_store_when_no_setting_does() -> None:
    """REDIS_URL names the store unless the setting or SENDWINDOW_STORE_URL does."""
    environ = {"REDIS_URL": "redis://one", "SENDWINDOW_STORE_PERSON_KEY": "k" * 16}
    assert parse({}, environ).store.url == "redis://one"
    assert parse({"store": {"url": "redis://two"}}, environ).store.url == "redis://two"
    assert parse(
        {"store": {"url": "redis://two"}}, environ | {"SENDWINDOW_STORE_URL": "redis://three"}
    ).store.url == ("redis://three")


@pytest.mark.parametrize(
    "variable, value, section, key, read",
    [
        ("SENDWINDOW_DISPATCH_SLOTS", "7", "dispatch", "slots", 7),
        ("SENDWINDOW_DISPATCH_LEASE_SECONDS", "2.5", "dispatch", "lease_seconds", 2.5),
        (
            "SENDWINDOW_POLICY_MESSENGER_ACCOUNT_UPDATE",
            "refuse",
            "policy",
            "messenger_account_update",
            "refuse",
        ),
        (
            "SENDWINDOW_STORE_PERSON_KEY",
            "0123456789abcdef",
            "store",
            "person_key",
            "0123456789abcdef",
        ),
        (
            "SENDWINDOW_STORE_PERSON_KEY",
            "env:PERSON_KEY",
            "store",
            "person_key",
            ENVIRON["PERSON_KEY"],
        ),
        (
            "SENDWINDOW_GUARDS_ALLOW_RECIPIENTS",
            "+14155550123, messenger:77",
            "guards",
            "allow_recipients",
            ("+14155550123", "messenger:77"),
        ),
    ],
)
def test_the_environment_goes_before_the_file(
    variable: str, value: str, section: str, key: str, read: object
) -> None:
    """Every setting of a flat section has a variable SENDWINDOW_<SECTION>_<KEY>."""
    settings = parse(example(), ENVIRON | {variable: value})
    assert getattr(getattr(settings, section), key) == read


FAULTS = [
    (("store", "url"), "redis://:hunter2@db", "store.url: a password must not be written here"),
    (("store", "url"), "http://db", "store.url: is not a Redis URL"),
    (("store", "url"), 5, "store.url: is not a text; write it between quotes"),
    (("store", "url"), "redis://[", "store.url: is not a URL"),
    (
        ("store", "url"),
        "env:NO_SUCH",
        "the environment variable NO_SUCH is not set or empty; set NO_SUCH",
    ),
    (
        ("store", "person_key"),
        "hunter2hunter2hunter2",
        "store.person_key: a secret must not be written here",
    ),
    (
        ("store", "person_key"),
        "file:missing",
        "the file missing cannot be read (FileNotFoundError)",
    ),
    (("store", "log_key"), "env:PERSON_KEY", "store.log_key: is the same as person_key"),
    (
        ("store", "durability"),
        "wait:0",
        "store.durability: does not have the right format; write none or wait:N",
    ),
    (("store", "partition"), "P 0", "store.partition: does not have the right format"),
    (("store", "ulr"), "redis://db", 'store.ulr: there is no such setting; did you mean "url"?'),
    (
        ("gateway", "port"),
        "8080",
        "gateway.port: is not a whole number; write a whole number from 0 to 65535",
    ),
    (("gateway", "port"), True, "gateway.port: is not a whole number"),
    (("gateway", "port"), 70_000, "gateway.port: is out of range"),
    (("gateway", "timeout_seconds"), float("nan"), "gateway.timeout_seconds: is out of range"),
    (("gateway", "public_url"), "http://hooks.example.com", "gateway.public_url: is not https"),
    (
        ("gateway", "public_url"),
        "https://u:p@hooks.example.com",
        "gateway.public_url: has a user or password in it",
    ),
    (
        ("gateway", "public_url"),
        "https://hooks_a.example.com",
        "gateway.public_url: has an underscore",
    ),
    (
        ("gateway", "public_url"),
        "https://hooks.example.com/?a=1",
        "gateway.public_url: has a query",
    ),
    (
        ("gateway", "public_url"),
        "https://hooks.example.com/twilio/inbound",
        (
            "gateway.public_url: ends in /twilio/inbound; "
            "leave that out: the path that Twilio calls is added to the URL"
        ),
    ),
    (
        ("gateway", "public_url"),
        "https://hooks.example.com/sw/twilio/status/",
        "public_url: ends in /twilio/status;",
    ),
    (
        ("gateway", "public_url"),
        "http://127.0.0.1:80",
        "gateway.public_url: is not reachable from outside",
    ),
    (("gateway", "public_url"), "hooks", "gateway.public_url: is not an http(s) URL"),
    (
        ("gateway", "public_url"),
        "https://hooks.example.com:99999",
        "gateway.public_url: is not an http(s) URL",
    ),
    (
        ("accounts", "main", "account_sid"),
        "AC12",
        "accounts.main.account_sid: does not have the right format; write AC and",
    ),
    (
        ("accounts", "main", "auth_token"),
        TOKEN,
        "accounts.main.auth_token: a secret must not be written here",
    ),
    (
        ("accounts", "main", "api_key"),
        "2" * 34,
        "accounts.main.api_key: does not have the right format; write SK",
    ),
    (
        ("accounts", "main", "webhook_tokens"),
        [TOKEN],
        "accounts.main.webhook_tokens: a secret must not be",
    ),
    (
        ("accounts", "main", "webhook_tokens"),
        "env:X",
        "accounts.main.webhook_tokens: is not a list of texts",
    ),
    (
        ("accounts", "main", "base_url"),
        "http://api.twilio.com",
        "accounts.main.base_url: is not https",
    ),
    (
        ("accounts", "a|b"),
        {},
        'accounts."a|b": has a character or a length that is not allowed; use 1 to 64',
    ),
    (("senders", "14155550100"), {}, 'senders."14155550100": is shaped like an address'),
    (("accounts", "other"), 5, "accounts.other: is not a table"),
    (
        ("senders", "shop", "account"),
        "mian",
        'senders.shop.account: there is no account "mian"; did you mean "main"?',
    ),
    (
        ("senders", "shop", "address"),
        "whatsap:+14155550100",
        "senders.shop.address: is not a sender's address",
    ),
    (
        ("senders", "shop", "channel"),
        "sms",
        "senders.shop.channel: does not match the address, which is whatsapp",
    ),
    (
        ("senders", "shop", "channel"),
        "watsapp",
        'senders.shop.channel: is not one of the choices; did you mean "what',
    ),
    (
        ("senders", "shop", "messaging_service_sid"),
        "XX",
        "senders.shop.messaging_service_sid: does not have the right",
    ),
    (
        ("senders", "page", "address"),
        "whatsapp:+14155550100",
        "senders.page.address: is the same as that of senders.shop",
    ),
    (
        ("templates", "order_update", "category"),
        "utility",
        "templates.order_update.category: is not one of",
    ),
    (("templates", "order_update", "languages"), {}, "templates.order_update.languages: is empty"),
    (
        ("templates", "order_update", "languages"),
        3,
        "templates.order_update.languages: is not a table",
    ),
    (
        ("templates", "order_update", "languages", "en"),
        "HX1",
        "templates.order_update.languages.en: has no ContentSid",
    ),
    (
        ("templates", "order_update", "languages", "en-US"),
        "HX" + "4" * 32,
        "languages.en-US: is not a language code",
    ),
    (
        ("templates", "order_update", "languages", "en"),
        {"sid": "HX" + "4" * 32, "approval": "aproved"},
        'languages.en.approval: is not an approval status; did you mean "approved"?',
    ),
    (
        ("templates", "order_update", "languages", "en"),
        {"sid": "HX" + "4" * 32, "body": "Order {{1}} of {{name}}"},
        'languages.en.body: "name" is not among the variables',
    ),
    (
        ("templates", "order_update", "languages", "en"),
        {"sid": "HX" + "4" * 32, "body": " "},
        "body: is not a text",
    ),
    (
        ("templates", "order_update", "languages", "en"),
        {"sid": "HX" + "4" * 32, "body": 1},
        "body: is not a text",
    ),
    (
        ("templates", "order_update", "variables"),
        ["a-b"],
        'order_update.variables: "a-b" is not a variable name',
    ),
    (
        ("templates", "order_update", "variables"),
        [str(n) for n in range(101)],
        "variables: are too many",
    ),
    (
        ("templates", "order_update", "channels"),
        ["wahtsapp"],
        'channels: there is no channel "wahtsapp"; did you mean',
    ),
    (("templates", "order_update", "needs_phone"), "yes", "needs_phone: is not true or false"),
    (
        ("guards", "allow_recipients"),
        ["+1 415"],
        "guards.allow_recipients[0]: is not a recipient's address",
    ),
    (
        ("guards", "allow_recipients"),
        [],
        "guards.allow_recipients: is empty; list the addresses that may be sent to",
    ),
    (("guards", "per_person_per_day"), -1, "guards.per_person_per_day: is out of range"),
    (("log", "level"), "INFO", 'log.level: is not one of the choices; did you mean "info"?'),
    (("dispach", "slots"), 3, 'dispach: there is no such setting; did you mean "dispatch"?'),
]


@pytest.mark.parametrize(
    "path, value, says", FAULTS, ids=[f"{'.'.join(f[0])}-{i}" for i, f in enumerate(FAULTS)]
)
def test_a_fault_names_file_key_and_remedy(path: tuple[str, ...], value: object, says: str) -> None:
    """A wrong value is refused at start with file, key, fault and remedy."""
    faults = faults_of(changed(path[0], *path[1:], to=value))
    assert any(says in fault for fault in faults), faults
    assert all(fault.startswith("sendwindow.toml: ") and "; " in fault for fault in faults)


@pytest.mark.parametrize(
    "variable, value, says",
    [
        (
            "SENDWINDOW_GATEWAY_PROT",
            "80",
            "environment: SENDWINDOW_GATEWAY_PROT: there is no such setting; did you mean",
        ),
        (
            "SENDWINDOW_GATEWAY_PORT",
            "eighty",
            "environment: SENDWINDOW_GATEWAY_PORT: is not a number; write a whole",
        ),
        ("SENDWINDOW_STORE_PERSON_KEY", " ", "environment: SENDWINDOW_STORE_PERSON_KEY: is empty"),
        (
            "SENDWINDOW_STORE_PERSON_KEY",
            "short",
            "environment: SENDWINDOW_STORE_PERSON_KEY: is too short",
        ),
        (
            "SENDWINDOW_GUARDS_ALLOW_RECIPIENTS",
            "",
            "ALLOW_RECIPIENTS: is empty; list addresses",
        ),
        (
            "SENDWINDOW_GUARDS_ALLOW_RECIPIENTS",
            "+14155550123,foo",
            "environment: SENDWINDOW_GUARDS_ALLOW_RECIPIENTS[1]: is not a recipient",
        ),
        (
            "SENDWINDOW_GATEWAY_PUBLIC_URL",
            "foo",
            "environment: SENDWINDOW_GATEWAY_PUBLIC_URL: is not an http(s) URL",
        ),
        (
            "SENDWINDOW_STORE_URL",
            "foo://db",
            "environment: SENDWINDOW_STORE_URL: is not a Redis URL",
        ),
        (
            "SENDWINDOW_LOG_FORMAT",
            "xml",
            "environment: SENDWINDOW_LOG_FORMAT: is not one of the choices",
        ),
    ],
)
def test_a_fault_in_the_environment_names_the_variable(
    variable: str, value: str, says: str
) -> None:
    """A fault in the environment names the variable, not the file, and a misspelt one is not
    ignored.
    """
    faults = faults_of(example(), ENVIRON | {variable: value})
    assert any(says in fault for fault in faults), faults


def test_a_store_url_from_the_environment_is_not_blamed_on_the_file() -> None:
    """REDIS_URL counts if the file names no store, and its fault names it."""
    data = example()
    del data["store"]["url"]
    [fault] = faults_of(data, ENVIRON | {"REDIS_URL": "foo://db"})
    assert fault.startswith("environment: REDIS_URL: is not a Redis URL; ")


def test_a_byte_order_mark_is_no_part_of_the_settings(tmp_path: Path) -> None:
    """A byte order mark at the start of the settings is ignored, because some editors write one."""
    (tmp_path / "s.toml").write_bytes(b'\xef\xbb\xbf[log]\nlevel = "warning"\n')
    assert (
        load_settings(tmp_path / "s.toml", {"SENDWINDOW_DATA": str(tmp_path)}).log.level
        == "warning"
    )


def test_every_fault_is_listed_at_once() -> None:
    """One run lists every fault, so that the operator can fix them all at once."""
    data = changed("gateway", "port", to=-1)
    data["senders"]["shop"]["account"] = "x"
    data["templates"]["order_update"]["category"] = "x"
    assert len(faults_of(data)) == 3


def test_a_section_with_one_fault_is_checked_whole() -> None:
    """A wrong value of one key hides no fault of another key."""
    data = example()
    data["templates"]["order_update"] |= {
        "category": "x",
        "languages": {"en-US": "HX1"},
        "variables": ["a-b"],
    }
    data["senders"]["shop"] = {"address": "whatsap:+14155550100"}
    data["accounts"]["main"] |= {"account_sid": "AC1", "base_url": "twilio"}
    faults = faults_of(data)
    for key in (
        "templates.order_update.category",
        "templates.order_update.languages.en-US",
        "templates.order_update.variables",
        "senders.shop.account",
        "senders.shop.address",
        "accounts.main.account_sid",
        "accounts.main.base_url",
    ):
        assert any(f": {key}: " in fault for fault in faults), (key, faults)


def test_numbers_are_written_as_people_do() -> None:
    """A limit of a million is not written as 1e+06, in the fault or in docs/settings.md."""
    data = changed("gateway", "max_body_bytes", to=5)
    assert "write a whole number from 1024 to 1048576" in faults_of(data)[0]
    assert "| `gateway.max_body_bytes` | integer, 1024 to 1048576 | `1048576` |" in settings_table()
    assert "| `dispatch.connect_timeout` | number, 0.1 to 30 | `5` |" in settings_table()


def test_a_grace_period_says_what_a_short_one_costs() -> None:
    """The settings table says what a short grace period costs.

    A POST may last as long as connecting and reading together, and one that a deploy cuts off
    becomes unknown.
    """
    row = next(line for line in settings_table().splitlines() if "`dispatch.grace_seconds`" in line)
    assert "shorter than `connect_timeout` plus `read_timeout`" in row
    assert "unknown" in row


@pytest.mark.parametrize(
    "words",
    [
        {"language": "en"},
        {"language": "fil"},
        {"language": "pt_BR"},
        {"language": "pt-BR"},
        {"language": "EN"},
        {"language": "english"},
        {"language": "zh-Hant-TW"},
        {"variable": "1"},
        {"variable": "a" * 16},
        {"variable": "a" * 17},
        {"variable": "first_name"},
        {"variable": "first-name"},
        {"variable": ""},
    ],
    ids=str,
)
def test_settings_and_messages_know_the_same_languages_and_variables(words: dict[str, str]) -> None:
    """Settings and messages accept the same languages and variables."""
    language, variable = words.get("language", "en"), words.get("variable", "1")
    data = example()
    data["templates"]["order_update"] |= {
        "languages": {language: "HX" + "4" * 32},
        "variables": [variable],
    }
    try:
        declared = bool(parse(data))
    except SettingsError:
        declared = False
    try:
        template = {"name": "order_update", "language": language, "variables": {variable: "x"}}
        asked = bool(
            prepare(
                {"to": "+14155550100", "sender": "shop", "purpose": "utility", "template": template}
            )
        )
    except InvalidMessage:
        asked = False
    assert declared is asked


@pytest.mark.parametrize(
    "account, says",
    [
        ({}, "accounts.main.account_sid: is missing"),
        (
            {"account_sid": "AC" + "1" * 32},
            "accounts.main.auth_token: is missing; set auth_token, or api_key and",
        ),
        (
            {
                "account_sid": "AC" + "1" * 32,
                "api_key": "SK" + "1" * 32,
                "auth_token": "env:TWILIO_AUTH_TOKEN",
            },
            "accounts.main.api_secret: is missing",
        ),
        (
            {
                "account_sid": "AC" + "1" * 32,
                "api_key": "SK" + "1" * 32,
                "api_secret": "env:API_SECRET",
            },
            "accounts.main.webhook_tokens: is missing; an API key never signs callbacks",
        ),
    ],
)
def test_an_account_needs_a_login_and_a_token_that_signs(
    account: dict[str, Any], says: str
) -> None:
    """An account needs a whole login and an Auth Token, because an API key does not sign
    callbacks.
    """
    faults = faults_of(example() | {"accounts": {"main": account}})
    assert any(says in fault for fault in faults), faults


@pytest.mark.parametrize(
    "account, faulty",
    [
        ({"auth_token": "env:UNSET"}, "auth_token"),
        (
            {
                "api_key": "SK" + "1" * 32,
                "api_secret": "env:UNSET",
                "auth_token": "env:TWILIO_AUTH_TOKEN",
            },
            "api_secret",
        ),
        (
            {
                "api_key": "SK12",
                "api_secret": "env:API_SECRET",
                "auth_token": "env:TWILIO_AUTH_TOKEN",
            },
            "api_key",
        ),
        (
            {
                "api_key": "SK" + "1" * 32,
                "api_secret": "env:API_SECRET",
                "webhook_tokens": ["env:UNSET"],
            },
            "webhook_tokens",
        ),
        (
            {"api_key": "SK" + "1" * 32, "api_secret": "env:API_SECRET", "auth_token": "env:UNSET"},
            "auth_token",
        ),
    ],
    ids=["token", "secret", "key", "tokens", "signing token"],
)
def test_what_is_written_and_unusable_is_not_called_missing(
    account: dict[str, Any], faulty: str
) -> None:
    """A value that is present but unusable is one fault, not a second one about a missing value."""
    [fault] = faults_of(
        example() | {"accounts": {"main": {"account_sid": "AC" + "1" * 32, **account}}}
    )
    assert f"accounts.main.{faulty}: " in fault
    assert "is missing" not in fault


@pytest.mark.parametrize(
    "store, environ",
    [
        ({"url": "redis://db", "person_key": "env:UNSET"}, {}),
        ({"url": "redis://db"}, {"SENDWINDOW_STORE_PERSON_KEY": "env:UNSET"}),
    ],
)
def test_an_unset_person_key_is_one_fault(store: dict[str, Any], environ: dict[str, str]) -> None:
    """If the variable with the person key is not set, the error asks for that variable, not for a
    new key.
    """
    [fault] = faults_of({"store": store}, environ)
    assert fault.endswith("the environment variable UNSET is not set or empty; set UNSET")


def test_an_account_sid_has_one_name() -> None:
    """Two accounts with one AccountSid are refused, because a callback names only the
    AccountSid.
    """
    data = example()
    data["accounts"]["second"] = data["accounts"]["main"]
    assert faults_of(data) == [
        (
            "sendwindow.toml: accounts.second.account_sid: "
            "is the same as that of accounts.main; keep one of the two"
        )
    ]


def test_a_store_of_your_own_needs_a_person_key() -> None:
    """A store of your own needs a person key: a key made up at start would lose every opt-out."""
    assert "store.person_key: is missing" in faults_of({"store": {"url": "redis://db"}})[0]


def test_plain_http_is_for_private_hosts() -> None:
    """Plain http is allowed for loopback and container names, as the sandbox uses.

    Others need https.
    """
    data = changed("accounts", "main", "base_url", to="http://sandbox:8090/")
    data["gateway"]["public_url"] = "http://gateway:8080"
    settings = parse(data)
    assert settings.accounts["main"].base_url == "http://sandbox:8090"
    assert not is_twilio(settings.accounts["main"].base_url)


def test_no_secret_is_shown() -> None:
    """The repr of the settings shows no token, key, password, or address of a person."""
    shown = repr(parse(example()))
    for hidden in (
        TOKEN,
        ENVIRON["API_SECRET"],
        ENVIRON["PERSON_KEY"],
        "store-password",
        "14155550123",
    ):
        assert hidden not in shown


def test_no_fault_repeats_a_value_that_may_be_secret() -> None:
    """The fault that refuses a literal secret or a person's address does not repeat it."""
    data = changed("accounts", "main", "auth_token", to=TOKEN)
    data["store"]["url"] = "redis://:hunter2@db"
    data["guards"]["allow_recipients"] = ["14155550123"]
    text = "\n".join(faults_of(data))
    for hidden in (TOKEN, "hunter2", "14155550123"):
        assert hidden not in text


def test_the_log_key_differs_from_the_person_key() -> None:
    """The derived log key differs from the person key.

    A reader of the logs must not be able to identify persons in the store.
    """
    settings = parse(example())
    assert settings.log_key not in {None, ENVIRON["PERSON_KEY"].encode()}
    named = parse(example(), ENVIRON | {"SENDWINDOW_STORE_LOG_KEY": "log-key-0123456789"})
    assert named.log_key == b"log-key-0123456789"


def test_the_settings_cannot_be_changed() -> None:
    """Settings are immutable, so nothing changes them while the service runs."""
    settings = parse(example())
    with pytest.raises(AttributeError):
        settings.store.url = "redis://elsewhere"  # type: ignore[misc]  # the point of the test
    with pytest.raises(TypeError):
        settings.accounts["x"] = settings.accounts["main"]  # type: ignore[index]  # the point of the test


def test_only_what_was_set_overrides_the_policy_data() -> None:
    """A setting that is not set leaves the policy data's own value and version unchanged."""
    files = {name: tomllib.loads((POLICY_DATA / name).read_text("utf-8")) for name in FILES}
    assert parse({}).extra_words == {}
    plain = parse_policy(files)
    assert replace(load_rules(parse({})).policy, version=plain.version) == plain
    policy = load_rules(parse(changed("policy", "messenger_account_update", to="refuse"))).policy
    assert policy.account_update is AccountUpdate.REFUSE
    assert policy.allow_recipients == frozenset({"whatsapp:+14155550123"})


def test_words_add_to_the_policy_data() -> None:
    """Words are a list in the file and comma-separated in the environment.

    Only labels with words are passed on.
    """
    assert parse(changed("words", "stop", to=["klaar", "basta cosi"])).extra_words == {
        "stop": ("klaar", "basta cosi")
    }
    settings = parse_settings(
        {}, {"SENDWINDOW_WORDS_SUSPECTED": "het is goed geweest, , nu niet"}, no_file
    )
    assert settings.extra_words == {"suspected": ("het is goed geweest", "nu niet")}


def test_a_file_and_its_secrets_are_read_from_its_own_folder(tmp_path: Path) -> None:
    """`file:` paths are relative to the settings file, and a secret loses the newline at its
    end.
    """
    (tmp_path / "key").write_text("a-person-key-of-some-length\n", "utf-8")
    file = tmp_path / "sendwindow.toml"
    file.write_text('[store]\nurl = "redis://db"\nperson_key = "file:key"\n', "utf-8")
    assert load_settings(file, {}).store.person_key == "a-person-key-of-some-length"
    assert load_settings(None, {"SENDWINDOW_CONFIG": str(file)}).store.url == "redis://db"


def test_no_file_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a file in the current folder the defaults hold; with one it is read."""
    monkeypatch.chdir(tmp_path)
    assert load_settings(None, {}) == parse_settings({}, {}, no_file)
    (tmp_path / "sendwindow.toml").write_text("[dispatch]\nslots = 3\n", "utf-8")
    assert load_settings(None, {}).dispatch.slots == 3


@pytest.mark.parametrize(
    "content, says",
    [
        (b"[store\n", "is not TOML"),
        (b"\xff\xfe", "cannot be read (UnicodeDecodeError)"),
        (None, "FileNotFoundError"),
    ],
)
def test_an_unreadable_file_is_named(tmp_path: Path, content: bytes | None, says: str) -> None:
    """A missing or broken file is one fault with its path."""
    file = tmp_path / "other.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match="1 fault") as caught:
        load_settings(file, {})
    assert says in str(caught.value)
    assert str(file) in str(caught.value)


def test_an_empty_secret_file_is_a_fault(tmp_path: Path) -> None:
    """An empty file in place of a secret is a fault."""
    (tmp_path / "key").write_text("\n", "utf-8")
    file = tmp_path / "sendwindow.toml"
    file.write_text('[store]\nperson_key = "file:key"\n', "utf-8")
    with pytest.raises(SettingsError, match="the file key is empty"):
        load_settings(file, {})


def test_the_table_holds_every_setting() -> None:
    """The settings table has a row with type, default and description for each setting."""
    table = settings_table()
    rows = table.splitlines()[2:]
    shapes = [*FLAT_SECTIONS.values(), *NAMED_SECTIONS.values()]
    assert len(rows) == sum(len(fields(shape)) for shape in shapes)
    assert all(line.count(" | ") == 3 and not line.endswith(" |  |") for line in rows)
    assert (
        "| `dispatch.slots` | integer, 1 to 1000 | `25` "
        "| How many POSTs a worker may have open at once |" in rows
    )
    assert "| `accounts.NAME.account_sid` | text | required | The account's SID |" in rows
