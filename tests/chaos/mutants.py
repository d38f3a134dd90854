"""Seeded mutants: each breaks one rule of the service, and names the promise and rule that must
turn red.
"""

from dataclasses import dataclass
from typing import Final

from policies.status import RANKS
from policies.unknown import next_step
from sendwindow.vocabulary import OnUnknown
from tests.chaos.mutants_made import (
    CANCEL,
    CLAIM,
    ENQUEUE,
    INBOUND,
    REAP,
    RESOLVE,
    SETTLE,
    STATUS,
    Make,
    answers,
    answers_first,
    both,
    examines,
    follows_rule,
    invent_permits,
    late_intents,
    lua,
    optimistic,
    returns,
    sets,
    with_more,
    with_other,
)
from tests.chaos.mutants_once_lost import ROWS as RARE_ROWS
from tests.chaos.mutants_policy import ROWS
from tests.chaos.mutants_scenario import Scenario, life, rare
from worker.gateway.status_endpoint import StatusEndpoint
from worker.pipeline.unknown.text_comparison import Likeness
from worker.ports.posts import NotSent


@dataclass(frozen=True, slots=True)
class Mutant:
    """A broken service.

    `breaks` says what is wrong; `promise` and `rule` are what `verify` must find after `scenario`.
    """

    name: str
    breaks: str
    promise: str
    rule: str
    make: Make
    scenario: Scenario = life


def _table(promise: str, *rows: tuple[str, str, str, Make]) -> tuple[Mutant, ...]:
    return tuple(Mutant(name, breaks, promise, rule, make) for name, breaks, rule, make in rows)


P1: Final = _table("P1", *ROWS)

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
        lua("  put_into_lane(row[F.lane], id, due, now)\n", "", SETTLE, STATUS, RESOLVE, REAP),
    ),
    (
        "end_leaves",
        "a settlement is applied whatever became of the message meanwhile",
        "two_ends",
        lua(
            "  if row[F.fence] == settlement.fence then\n    return stage",
            "  if true then\n    return true or stage",
            SETTLE,
        ),
    ),
    (
        "fence_unchecked",
        "a settlement is applied whoever holds the message",
        "denied",
        lua("  if row[F.fence] == settlement.fence then\n", "  if true then\n", SETTLE),
    ),
    (
        "suppression_outlives",
        "an inbound ends nothing that an error taught",
        "shut_out",
        lua("  end_blocks(person, inbound.account, at, true)\n", "", INBOUND),
    ),
    (
        "teaching_stays",
        "what a failure taught stays although the message arrived after all",
        "shut_out",
        lua("if name == F.suppressed_by and string.match(", "if false and string.match(", STATUS),
    ),
    (
        "marketing_stops_all",
        "a block after a marketing template holds everything back",
        "shut_out",
        lua("    holds = effect.after_marketing\n", "", SETTLE, STATUS),
    ),
    (
        "letter_cancel_forgotten",
        "a cancel of a dead letter does nothing, and a replay sends it",
        "after_cancel",
        both(
            lua("  elseif stage == C.DEAD then\n", "  elseif false then\n", CANCEL),
            lua(
                "    mark_cancelled(id, row, now, 'cancel_asked')\n    reply = 'ended'\n",
                "    reply = 'ended'\n",
                CANCEL,
            ),
        ),
    ),
    ("first_come", "a row that may be another attempt's is taken", "phantom", examines(rivals=())),
    (
        "stranger_proves",
        "any message from the sender proves a template",
        "phantom",
        sets("worker.pipeline.unknown.matching.compare_template", returns(Likeness.SAME)),
    ),
)

P3: Final = _table(
    "P3",
    (
        "blind_retry",
        "no proof counts as not sent",
        "duplicate",
        both(
            sets("worker.twilio.client.read_answer", optimistic),
            sets(
                "worker.twilio.departure.Departure.conclude",
                returns(NotSent("no answer, so nothing was sent")),
            ),
        ),
    ),
    (
        "later_proof_unheard",
        "what was called failed is sent again although it arrived",
        "duplicate",
        lua(
            "if has_moved and had_failed and correct_failure(",
            "if false and correct_failure(",
            STATUS,
        ),
    ),
    (
        "failed_is_final",
        "delivered ranks no higher than a failure",
        "duplicate",
        sets("policies.status.RANKS", dict(RANKS) | {"delivered": RANKS["failed"]}),
    ),
    (
        "never_reopened",
        "a message whose rule is never goes out again when it failed",
        "never_again",
        lua(
            "  if row[F.on_unknown] == C.ON_UNKNOWN_NEVER then return false end\n",
            "",
            STATUS,
            SETTLE,
        ),
    ),
    ("absent_without_proof", "every list is trusted", "duplicate", examines(is_proven=True)),
    (
        "unread_absent",
        "a text that cannot be compared is another's",
        "duplicate",
        sets("worker.pipeline.unknown.matching.compare_template", returns(Likeness.OTHER)),
    ),
    (
        "rule_ignored",
        "whatever is unknown is sent again",
        "duplicate",
        follows_rule(OnUnknown.RESEND, next_step),
    ),
    (
        "repeat_enqueued",
        "a message id may be queued again",
        "duplicate",
        lua("if known_digest then", "if false then", ENQUEUE),
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
        lua(
            "if update.rank <= (tonumber(row[F.status_rank]) or -1) then return false, false end",
            "",
            STATUS,
            SETTLE,
        ),
    ),
    (
        "ack_before_store",
        "a callback is answered, then stored",
        "not_stored",
        answers_first(StatusEndpoint, 204),
    ),
    (
        "inbound_unstored",
        "what persons write is answered and dropped",
        "inbound_not_stored",
        sets("worker.gateway.inbound_endpoint.InboundEndpoint._apply", answers(None)),
    ),
    (
        "label_judged",
        "a tap is judged by its label instead of its payload",
        "tap_misread",
        sets(
            "policies.keywords.Keywords.match_tap",
            lambda words, label, _payload, told=None: words.match(label, told),
        ),
    ),
)

REQUESTS: Final = _table(
    "requests",
    (
        "parameter_added",
        "a parameter goes out that Twilio does not know",
        "unknown_parameter",
        with_more("Tags", "{}"),
    ),
    (
        "parameter_twice",
        "a parameter goes out twice",
        "repeated_parameter",
        with_more("ValidityPeriod", "60"),
    ),
    (
        "parameter_empty",
        "a parameter goes out without a value",
        "empty_parameter",
        with_more("MediaUrl", ""),
    ),
)

RARE: Final = tuple(
    Mutant(name, breaks, promise, rule, make, rare)
    for promise, name, breaks, rule, make in RARE_ROWS
)

MUTANTS: Final = (*P1, *P2, *P3, *P4, *REQUESTS, *RARE)
