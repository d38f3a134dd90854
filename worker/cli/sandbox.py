"""`sandbox`: a Messages API for trials, built from the service's settings.

`say` writes as a person.
"""

import argparse
import asyncio
import errno
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from worker.cli.exit_codes import CommandError, Exit, no_account
from worker.cli.output import Output, add_json
from worker.telemetry.journal import JournalError

if TYPE_CHECKING:
    from sandbox.config import SandboxConfig
    from worker.settings.settings import Settings

PORT: Final = 9810
URL: Final = f"http://127.0.0.1:{PORT}"
_MAX_PORT: Final = 65535


def configure(parser: argparse.ArgumentParser, name: str) -> None:
    """Describe the arguments."""
    del name
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: %(default)s)"
    )
    parser.add_argument(
        "--port", type=_port, default=PORT, help="port to listen on (default: %(default)s)"
    )
    parser.add_argument(
        "--journal",
        type=Path,
        metavar="FILE",
        help="write what the sandbox sees to FILE, for `verify`",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="seed that decides which messages a fault with a probability hits",
    )
    parser.add_argument("--end-with-stdin", action="store_true", help=argparse.SUPPRESS)
    parser.set_defaults(command_function=run)
    words = parser.add_subparsers(dest="word", metavar="[say]").add_parser(
        "say", help="write as a person"
    )
    words.add_argument("--from", dest="person", required=True, metavar="ADDRESS", help="who writes")
    words.add_argument("--to", required=True, metavar="SENDER", help="a sender's name or address")
    words.add_argument("--url", default=URL, help="where the sandbox runs (default: %(default)s)")
    words.add_argument("body", metavar="BODY", help='what they write, such as "Hello" or "STOP"')
    add_json(words)
    words.set_defaults(command_function=run_say)


def run(arguments: argparse.Namespace) -> int:
    """Run the sandbox until a signal."""
    from worker.cli.signals import run_until_signal
    from worker.wiring import read_settings

    settings = read_settings(arguments.config)
    _refuse_elsewhere(settings)
    config = sandbox_config(
        settings, arguments.host, arguments.port, arguments.journal, arguments.seed
    )
    return asyncio.run(
        run_until_signal(SandboxService(config), grace=2.0, with_stdin=arguments.end_with_stdin)
    )


def _refuse_elsewhere(settings: "Settings") -> None:
    """Raise CommandError if the settings send messages beyond this machine and network.

    Such settings are not for a sandbox.
    """
    from worker.settings.checks import is_private

    for account in settings.accounts.values():
        if not is_private(urlsplit(account.base_url).hostname or ""):
            raise CommandError(
                f"accounts.{account.name}.base_url is not on this machine or network.",
                "The sandbox stands in for Twilio: use separate settings whose base_url is that of "
                f"the sandbox, such as {URL}.",
                Exit.USAGE,
            )


def run_say(arguments: argparse.Namespace) -> int:
    """Write as a person, and print what the gateway answered.

    Raises CommandError when the settings lack the sender.
    """
    from worker.wiring import read_settings

    addresses = {
        name: sender.address
        for name, sender in read_settings(arguments.config, with_credentials=False).senders.items()
    }
    to = addresses.get(arguments.to, arguments.to)
    if to not in addresses.values():
        remedy = f"Give one of: {', '.join(addresses)}." if addresses else "Name one in [senders]."
        raise CommandError("--to is not a sender in the settings.", remedy, Exit.USAGE)
    return asyncio.run(
        _say(arguments.url, arguments.person, to, arguments.body, Output(arguments.json))
    )


class SandboxService:
    """The sandbox as a service that starts and stops in order."""

    def __init__(self, config: "SandboxConfig") -> None:
        self._config = config
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Serve until stopped.

        Raises CommandError when it cannot listen on the address or write its journal.
        """
        from sandbox.app import serve

        try:
            await serve(
                self._config, self._stopping, lambda url: print(f"sandbox: {url}", flush=True)
            )
        except OSError as error:
            raise _cannot_serve(self._config, error) from error

    async def stop(self) -> None:
        """Stop serving."""
        self._stopping.set()


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > _MAX_PORT:
        raise argparse.ArgumentTypeError(
            f"{text} is not a port; use 0 (any free port) to {_MAX_PORT}"
        )
    return int(text)


def _cannot_serve(config: "SandboxConfig", error: OSError) -> CommandError:
    """Return the error for what prevented serving.

    Only errors about a file name one, and the only file here is the journal.
    """
    if error.filename is not None or isinstance(error, JournalError):
        return CommandError(
            f"The journal cannot be written ({error.strerror}).", "Check its path.", Exit.USAGE
        )
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return CommandError(
            f"{config.host} is not an address of this machine.",
            "Give one with --host, such as 127.0.0.1.",
            Exit.USAGE,
        )
    return CommandError(
        f"Port {config.port} cannot be used ({error.strerror}).", "Choose another with --port."
    )


def sandbox_config(
    settings: "Settings", host: str, port: int, journal: Path | None, seed: int = 0
) -> "SandboxConfig":
    """Build the sandbox's configuration from the settings of the service.

    It takes their accounts, senders and templates, and the URL for inbound messages.
    """
    from sandbox.config import SandboxAccount, SandboxConfig, SandboxTemplate

    if not settings.accounts:
        raise no_account()
    accounts = []
    for account in settings.accounts.values():
        senders = [sender for sender in settings.senders.values() if sender.account == account.name]
        services: dict[str, list[str]] = {}
        for sender in senders:
            if sender.messaging_service_sid is not None:
                services.setdefault(sender.messaging_service_sid, []).append(sender.address)
        has_key = account.username != account.account_sid
        accounts.append(
            SandboxAccount(
                sid=account.account_sid,
                token=account.webhook_tokens[0],
                keys={account.username: account.password} if has_key else {},
                senders=frozenset(sender.address for sender in senders),
                services={sid: tuple(pool) for sid, pool in services.items()},
            )
        )
    templates = {
        language.sid: SandboxTemplate(
            name=template.name,
            variables=template.variables,
            approved=language.approval.value,
            body=language.body or "",
            category=template.category.value,
            needs_phone=template.needs_phone,
        )
        for template in settings.templates.values()
        for language in template.languages.values()
    }
    return SandboxConfig(
        accounts=tuple(accounts),
        inbound_url=f"{settings.gateway.public_url}/twilio/inbound",
        host=host,
        port=port,
        templates=templates,
        journal=journal,
        seed=seed,
    )


async def _say(url: str, person: str, to: str, body: str, output: Output) -> int:
    import aiohttp

    from sandbox.app import say

    try:
        answer = await say(url, person, to, body)
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
        raise CommandError(
            "--url is not an http URL.", f"Write it as {URL}.", Exit.USAGE
        ) from error
    except ValueError as error:
        raise CommandError(f"The message was not delivered: {error}.") from error
    except aiohttp.ClientError as error:
        raise CommandError(
            f"No sandbox answers at {url} ({type(error).__name__}).",
            "Start one with `./run sandbox`, or name it with --url.",
        ) from error
    http = answer.get("http")
    if output.as_json:
        output.object(answer)
    else:
        output.say(
            f"the gateway answered {http}"
            if http
            else "the gateway did not answer; does it run at its public_url?"
        )
    return Exit.DONE if http is not None and 200 <= http < 300 else Exit.FAILED
