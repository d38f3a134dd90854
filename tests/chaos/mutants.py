"""Seeded mutants: services that break one rule each, and the promise and rule of `verify` that must turn red."""

from dataclasses import dataclass
from typing import Final

import policies.decide
import sendwindow.exchange
import worker.stores.ledger
import worker.stores.statuses
import worker.stores.unknowns
from policies.consent import Permission, Standing
from policies.unknown import next_step
from sendwindow.vocabulary import OnUnknown
from tests.chaos.mutants_made import (
    Make,
    always_open,
    answers,
    answers_first,
    approving,
    both,
    edits,
    examines,
    follows_rule,
    invent_permits,
    late_intents,
    lua,
    optimistic,
    post_refused,
    returns,
    sets,
    text_instead,
    with_more,
    with_other,
    without,
)
from worker.gateway.status import StatusEndpoint
from worker.values.posts import NotSent

ENQUEUE: Final = (sendwindow.exchange, "ENQUEUE")
CLAIM, ADMIT, SETTLE, REAP = ((worker.stores.ledger, name) for name in ("_CLAIM", "_ADMIT", "_SETTLE", "_REAP"))
STATUS, RESOLVE = (worker.stores.statuses, "_STATUS"), (worker.stores.unknowns, "_RESOLVE")
NO_EXPIRY: Final = tuple(rule for rule in policies.decide.RULES if rule.__name__ != "check_expiry")
ANYBODY: Final = Permission(Standing.GRANTED)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A broken service. `breaks`: what is wrong with it. `promise`, `rule`: what `verify` must find."""

    name: str
    breaks: str
    promise: str
    rule: str
    make: Make


def _table(promise: str, *rows: tuple[str, str, str, Make]) -> tuple[Mutant, ...]:
    return tuple(Mutant(name, breaks, promise, rule, make) for name, breaks, rule, make in rows)


P1: Final = _table(
    "P1",
    (
        "window_always_open",
        "the session window is never closed",
        "outside_window",
        sets("policies.limits.session_window", always_open),
    ),
    (
        "consent_ignored",
        "everybody consents to everything",
        "after_stop",
        sets("policies.limits.permission", returns(ANYBODY)),
    ),
    (
        "stop_not_held",
        "a stop is answered while permits are open",
        "after_stop",
        sets("worker.gateway.inbound.wait_for_permits", answers(0)),
    ),
    (
        "stale_admitted",
        "admission does not ask whether the person's facts are still the same",
        "after_stop",
        lua("and same(K.person(ask.person), ask.seen_person)", "", ADMIT),
    ),
    (
        "expiry_ignored",
        "neither decision nor admission nor POST looks at the time",
        "after_expiry",
        both(
            sets("policies.decide.RULES", NO_EXPIRY),
            lua("return now < tonumber(ask.valid_until)", "return true", ADMIT),
            sets("worker.dispatch.run.Run.start_by", lambda _run, _send, permit, _now: permit.lapses_at),
        ),
    ),
    (
        "refusal_sent",
        "what was refused goes out",
        "undecided",
        sets("worker.dispatch.pipe.Pipe._not_now", post_refused),
    ),
    ("form_swapped", "templates go out as text", "other_form", edits(text_instead)),
    ("variables_dropped", "templates go out without values", "missing_variables", without("ContentVariables")),
    (
        "variable_added",
        "templates get a value too many",
        "undeclared_variables",
        with_other("ContentVariables", lambda text: text.replace("}", ',"9":"surplus"}')),
    ),
    (
        "value_empty",
        "templates go out with an empty value",
        "bad_variables",
        with_other("ContentVariables", lambda _: '{"1":""}'),
    ),
    (
        "value_long",
        "nobody counts what a template grows to",
        "template_too_long",
        with_other("ContentVariables", lambda _: '{"1":"' + "x" * 1025 + '"}'),
    ),
    (
        "media_added",
        "every message gets a picture",
        "media_with_template",
        with_more("MediaUrl", "https://example.com/picture.png"),
    ),
    (
        "template_mistaken",
        "templates go out under another ContentSid",
        "unknown_template",
        with_other("ContentSid", lambda _: "HX" + "9" * 32),
    ),
    (
        "template_unchecked",
        "rejected templates are used",
        "template_not_approved",
        sets("policies.content.pick_template", approving),
    ),
    (
        "tag_breaker_off",
        "nothing is learnt from a dead ACCOUNT_UPDATE",
        "tag_known_dead",
        both(
            sets("worker.statuses.tag_after", returns(None)),
            sets("worker.dispatch.outcomes.tag_after", returns(None)),
        ),
    ),
)

P2: Final = _table(
    "P2",
    (
        "unknown_forgotten",
        "nobody looks for evidence",
        "lost",
        sets("worker.stores.unknowns.UnknownStore.due", answers([])),
    ),
    (
        "reaper_off",
        "nobody takes over from the dead",
        "lost",
        sets("worker.stores.ledger.LedgerStore.reap", answers([])),
    ),
    (
        "requeue_forgotten",
        "what is to be tried again enters no lane",
        "lost",
        lua("  to_lane(row.l, id, due, now)\n", "", SETTLE, STATUS, RESOLVE, REAP),
    ),
    (
        "end_leaves",
        "a settlement is applied whatever became of the message meanwhile",
        "two_ends",
        lua("if row.f == s.fence then return", "if true then return true or", SETTLE),
    ),
    (
        "fence_unchecked",
        "a settlement is applied whoever holds the message",
        "denied",
        lua("if row.f == s.fence then return", "if true then return", SETTLE),
    ),
    ("first_come", "a row that may be another attempt's is taken", "phantom", examines(rivals=())),
)

P3: Final = _table(
    "P3",
    (
        "blind_retry",
        "no proof counts as not sent",
        "duplicate",
        both(
            sets("worker.twilio.client.read_answer", optimistic),
            sets("worker.twilio.client.read_failure", returns(NotSent("no answer, so nothing was sent"))),
        ),
    ),
    ("absent_without_proof", "every list is trusted", "duplicate", examines(is_proven=True)),
    ("rule_ignored", "whatever is unknown is sent again", "duplicate", follows_rule(OnUnknown.RESEND, next_step)),
    (
        "repeat_enqueued",
        "a message id may be queued again",
        "duplicate",
        lua("if first[1] then", "if false then", ENQUEUE),
    ),
    (
        "permit_invented",
        "a POST needs no intent in the store",
        "attempt_reused",
        sets("worker.stores.ledger.LedgerStore.admit", invent_permits),
    ),
    ("intent_late", "the intent is written after the POST", "no_intent", late_intents),
    (
        "fence_shared",
        "every claim has the same fence",
        "shared_fence",
        lua("fence = next_fence()", "fence = '7'", CLAIM),
    ),
    (
        "callback_url_bare",
        "callbacks name neither message nor attempt",
        "nameless",
        with_other("StatusCallback", lambda url: url.partition("?")[0]),
    ),
)

P4: Final = _table(
    "P4",
    (
        "status_overwrites",
        "the status that comes last counts",
        "backward",
        lua("if update.rank <= (tonumber(row.sr) or -1) then return false, false end", "", STATUS, SETTLE),
    ),
    ("ack_before_store", "a callback is answered, then stored", "not_stored", answers_first(StatusEndpoint, 204)),
    (
        "inbound_unstored",
        "what persons write is answered and dropped",
        "inbound_not_stored",
        sets("worker.gateway.inbound.InboundEndpoint._apply", answers(None)),
    ),
)

REQUESTS: Final = _table(
    "requests",
    ("parameter_added", "a parameter goes out that Twilio does not know", "unknown_parameter", with_more("Tags", "{}")),
    ("parameter_twice", "a parameter goes out twice", "repeated_parameter", with_more("ValidityPeriod", "60")),
    ("parameter_empty", "a parameter goes out without a value", "empty_parameter", with_more("MediaUrl", "")),
)

MUTANTS: Final = (*P1, *P2, *P3, *P4, *REQUESTS)
