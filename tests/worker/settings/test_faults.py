"""Each fault of the settings names file, key and remedy."""

from pathlib import Path

import pytest

from tests.support.settings_examples import ENVIRON, TOKEN, changed, example, faults_of
from worker.settings.reader import SettingsError
from worker.settings.settings import load_settings, settings_table

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
    (
        ("accounts", "main", "messages_per_second"),
        -1,
        "accounts.main.messages_per_second: is out of range",
    ),
    (
        ("senders", "shop", "messages_per_second"),
        0.05,
        "senders.shop.messages_per_second: is too slow; write 0.1 to 10000, or 0 for no limit",
    ),
    (("senders", "shop", "pair_limit"), 6, "senders.shop.pair_limit: is not true or false"),
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
