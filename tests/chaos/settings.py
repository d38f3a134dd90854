"""The settings file of a chaos run: short leases and timeouts, two channels."""

from collections.abc import Mapping
from pathlib import Path

ACCOUNT_SID = "AC" + "c" * 32
TEMPLATE_SID = "HX" + "1" * 32
PERSON_KEY = "chaos-person-key-of-32-characters"
TOKEN = "chaos-token"


def write_settings(folder: Path, store_url: str, gateway_port: int, sandbox_port: int) -> Path:
    """Write sendwindow.toml and return its path."""
    path = folder / "sendwindow.toml"
    path.write_text(
        f"""
[store]
url = "{store_url}"
person_key = "env:CHAOS_PERSON_KEY"
[gateway]
public_url = "http://127.0.0.1:{gateway_port}"
port = {gateway_port}
[dispatch]
slots = 25
lease_seconds = 2
connect_timeout = 1
read_timeout = 1.5
grace_seconds = 4
[log]
level = "warning"
[accounts.main]
account_sid = "{ACCOUNT_SID}"
auth_token = "env:CHAOS_TOKEN"
base_url = "http://127.0.0.1:{sandbox_port}"
[senders.shop]
account = "main"
address = "whatsapp:+14155550100"
messages_per_second = 2000
pair_limit = false
[senders.text]
account = "main"
address = "+14155550100"
messages_per_second = 2000
[templates.order_update]
category = "UTILITY"
variables = ["1"]
[templates.order_update.languages]
en = {{ sid = "{TEMPLATE_SID}", body = "order_update: {{{{1}}}}" }}
"""
    )
    return path


def environ(path: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the processes: only PATH and the secrets."""
    return {
        "PATH": path.get("PATH", ""),
        "CHAOS_TOKEN": TOKEN,
        "CHAOS_PERSON_KEY": PERSON_KEY,
        "PYTHONDONTWRITEBYTECODE": "1",
    }
