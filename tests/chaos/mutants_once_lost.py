"""The mutants of the scenario about what is rare, each with the promise that it breaks."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any, Final

from aiohttp import web

import tests.chaos.mutants_rig
import worker.gateway.app
from policies.error_catalogue import ErrorCatalogue, ErrorEntry
from policies.policy import ErrorGuard
from policies.ruleset import Ruleset
from tests.chaos.mutants_made import Make, returns, sets
from worker.settings.settings import Settings
from worker.stores import fact_parsing

_read_rules = tests.chaos.mutants_rig.rules_read_once
_guarded = worker.gateway.app._guarded
_lookup = ErrorCatalogue.lookup
_consents = fact_parsing._consents

Handler = Callable[[web.Request], Awaitable[web.Response]]


def digits_only(value: object) -> int | None:
    """Replace `read_code`, and read only whole numbers and their digits."""
    if isinstance(value, str):
        return int(value) if value.isdecimal() else None
    return value if isinstance(value, int) else None


def read_consents_only(name: str, value: Any) -> Iterator[Any]:
    """Replace `_consents`, and pass over what this release cannot read."""
    return (fact for fact in _consents(name, value) if fact is not None)


class EveryPurpose(dict[str, Any]):
    """The purposes of consent, of which those of a newer release mean everything."""

    def __contains__(self, _name: object) -> bool:
        return True

    def __missing__(self, _name: str) -> None:
        return None


def guarded_by(guard: ErrorGuard) -> Make:
    """Believe errors up to another number."""

    def rules(settings: Settings) -> Ruleset:
        read = _read_rules(settings)
        return replace(read, policy=replace(read.policy, error_guard=guard))

    return sets("tests.chaos.mutants_rig.rules_read_once", rules)


def phones_only(errors: ErrorCatalogue, *asked: Any, **named: Any) -> ErrorEntry:
    """Replace `lookup`, and count every user id as a phone."""
    return replace(_lookup(errors, *asked, **(named | {"to_user_id": False})), for_user_id=None)


def post_only(endpoint: str) -> Make:
    """Refuse every request to one of the gateway's URLs that is no POST."""

    def guarded(parts: Any, door: Any, name: str, *more: Any) -> Handler:
        handle = _guarded(parts, door, name, *more)

        async def refusing(request: web.Request) -> web.Response:
            if name == endpoint and request.method != "POST":
                return web.Response(status=405)
            return await handle(request)

        return refusing

    return lambda patch: patch.setattr(worker.gateway.app, "_guarded", guarded)


ROWS: Final[tuple[tuple[str, str, str, str, Make], ...]] = (
    (
        "P1",
        "decimal_answer_unread",
        "an error code 21610.0 in an answer is no code",
        "told_opted_out",
        sets("worker.twilio.replies.read_code", digits_only),
    ),
    (
        "P1",
        "decimal_callback_unread",
        "an error code 21610.0 in a callback is no code",
        "told_opted_out",
        sets("worker.gateway.forms.read_code", digits_only),
    ),
    (
        "P1",
        "newer_withdrawal_ignored",
        "a withdrawal that only a newer release can read forbids nothing",
        "unknown_withdrawal",
        sets("worker.stores.fact_parsing._consents", read_consents_only),
    ),
    (
        "P1",
        "newer_grant_counts",
        "a grant of a purpose that only a newer release knows permits everything",
        "no_consent",
        sets("worker.stores.fact_parsing._PURPOSES", EveryPurpose(fact_parsing._PURPOSES)),
    ),
    (
        "P1",
        "every_error_held",
        "what an error teaches about a person always waits for an operator",
        "told_unusable",
        guarded_by(ErrorGuard(1000, 0, 0)),
    ),
    (
        "P1",
        "rcs_ignored",
        "a stop by RCS is answered and dropped",
        "after_stop",
        sets("worker.gateway.inbound_form._as_sms", lambda address: address),
    ),
    (
        "P1",
        "channel_code_unread",
        "what Meta says next to Twilio's code is not read",
        "held_back",
        sets("worker.gateway.forms.read_channel_codes", returns(frozenset())),
    ),
    (
        "P2",
        "jump_of_errors_believed",
        "what an error teaches about a person applies, however many come at once",
        "shut_out",
        guarded_by(ErrorGuard(1000, 100, 10_000)),
    ),
    (
        "P2",
        "user_id_suppressed",
        "21211 suppresses a user id as it does a phone",
        "shut_out",
        sets("policies.error_catalogue.ErrorCatalogue.lookup", phones_only),
    ),
    (
        "P4",
        "get_refused_for_statuses",
        "a status by GET is refused",
        "turned_away",
        post_only("status"),
    ),
    (
        "P4",
        "get_refused_for_inbounds",
        "what a person wrote and Twilio delivers by GET is refused",
        "turned_away",
        post_only("inbound"),
    ),
)
