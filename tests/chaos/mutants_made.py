"""How mutants are made: in Python by replacing a step, in Lua by replacing a fragment."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from types import ModuleType
from typing import Any, Final

import pytest
from aiohttp import web

import sendwindow.protocol
import worker.stores.ledger
import worker.stores.people
import worker.stores.statuses
import worker.stores.unknowns
from policies.consent import Permission, _undoes, permission
from policies.decision import FreeformContent, Refuse, SeenRevisions, Send, Wait
from policies.facts import Approval
from policies.keywords import Keywords
from policies.tag import tag_problem
from policies.templates import pick_template
from policies.window import Window
from sendwindow.lua_sources import Part
from sendwindow.scripts import Script
from sendwindow.vocabulary import OnUnknown
from worker.pipeline.attempt import Attempt, Conclusion
from worker.pipeline.pipeline import Pipeline
from worker.pipeline.recorder import Recorder
from worker.pipeline.unknown.matching import examine
from worker.ports.admissions import Admission, AdmitRequest, Permit
from worker.ports.posts import CreateMessage, NotSent, Reply, Unproven
from worker.runtime.clock import monotonic
from worker.stores.ledger import LedgerStore
from worker.stores.person_digests import PersonDigests
from worker.stores.worker_scripts import SOURCES
from worker.twilio.departure import Departure
from worker.twilio.replies import read_answer
from worker.twilio.requests import build

Patch = pytest.MonkeyPatch
Make = Callable[[Patch], None]
Form = list[tuple[str, str]]

ENQUEUE: Final = (sendwindow.protocol, "ENQUEUE")
CANCEL: Final = (sendwindow.protocol, "CANCEL")
INBOUND: Final = (worker.stores.people, "_INBOUND")
CLAIM, ADMIT, SETTLE, REAP = (
    (worker.stores.ledger, name) for name in ("_CLAIM", "_ADMIT", "_SETTLE", "_REAP")
)
CONSENT: Final = (worker.stores.people, "_CONSENT")
STATUS, RESOLVE = (worker.stores.statuses, "_STATUS"), (worker.stores.unknowns, "_RESOLVE")

# -- tools -----------------------------------------------------------------------------------------


def sets(target: str, value: object) -> Make:
    """Set the value at the dotted path, which must exist."""
    return lambda patch: patch.setattr(target, value)


def both(*makes: Make) -> Make:
    """Do one after the other."""

    def make(patch: Patch) -> None:
        for each in makes:
            each(patch)

    return make


def lua(fragment: str, instead: str, *scripts: tuple[ModuleType, str]) -> Make:
    """Replace a fragment that must be in each of the scripts exactly once.

    The fragment is as the Lua file has it, with `F.` and `C.`.
    """
    fragment = SOURCES._expand("a mutant", Part("", fragment))[0]

    def make(patch: Patch) -> None:
        for module, name in scripts:
            script: Script = getattr(module, name)
            found = script.source.count(fragment)
            assert found == 1, (
                f"{script.name}.lua has {fragment!r} {found} times: adjust the mutant"
            )
            patch.setattr(
                module, name, Script(script.name, script.source.replace(fragment, instead))
            )

    return make


def returns(value: object) -> Callable[..., object]:
    """Return a function that always returns the value."""
    return lambda *_asked, **_named: value


def answers(value: object) -> Callable[..., Any]:
    """Return an async function that always returns the value."""

    async def answer(*_asked: object, **_named: object) -> object:
        return value

    return answer


def split_by_spelling(patch: Patch) -> None:
    """Look a person up under the address as written, in Python and in Lua."""
    patch.setattr(PersonDigests, "persons_of", lambda digests, address: digests.digest(address))
    lua("local digests = spellings_of(address)", "local digests = { address }", CLAIM)(patch)


_match = Keywords.match

# -- what goes out ---------------------------------------------------------------------------------


def always_open(_person: object, policy: Any, now: Any) -> Window:
    """Replace `session_window` with a window that is always open."""
    return Window(is_open=True, closes_at=now + policy.window)


def approving(draft: Any, fact: Any, policy: Any) -> Any:
    """Replace `pick_template`, and count every template as approved."""
    return pick_template(draft, fact and replace(fact, approval=Approval.APPROVED), policy)


def fitting(**instead: Any) -> Callable[..., Any]:
    """Replace `pick_template`, and count every template as one of the purpose's category, or the
    given one.
    """

    def pick(draft: Any, fact: Any, policy: Any) -> Any:
        facts = instead or {"category": policy.purposes[draft.purpose].category}
        return pick_template(draft, fact and replace(fact, **facts), policy)

    return pick


def phones_only(draft: Any, fact: Any, policy: Any) -> Any:
    """Replace `pick_template`, and count every user id as a phone."""
    return pick_template(replace(draft, to_is_phone=True), fact, policy)


def deaf_to_withdrawals(person: Any, *asked: Any) -> Permission:
    """Replace `permission`, and see only grants."""
    return permission(
        replace(person, consents=tuple(one for one in person.consents if one.granted)), *asked
    )


def never_ending(person: Any, *asked: Any) -> Permission:
    """Replace `permission`, and ignore when consent ends."""
    return permission(
        replace(person, consents=tuple(replace(one, expires_at=None) for one in person.consents)),
        *asked,
    )


def hearing_ascii(words: Keywords, text: str, *more: Any, **named: Any) -> Any:
    """Replace `Keywords.match`, and find no keyword that has letters beyond ASCII."""
    return _match(words, text, *more, **named) if text.isascii() else None


def undoing_at_once(grant: Any, withdrawal: Any, purpose: Any, counted: Any) -> bool:
    """Replace `_undoes`, and let a grant win a tie."""
    return _undoes(
        replace(grant, at=grant.at + timedelta(milliseconds=1)), withdrawal, purpose, counted
    )


def reviving_marketing(grant: Any, withdrawal: Any, purpose: Any, _counted: Any) -> bool:
    """Replace `_undoes`, and count a grant of everything as one of marketing."""
    return _undoes(grant, withdrawal, purpose, {None})


def unproven_goes(tag: Any, policy: Any) -> Any:
    """Replace `tag_problem`, and allow any number of unproven messages of a Page."""
    return tag_problem(tag and replace(tag, in_flight=False), policy)


def post_refused(
    pipeline: Pipeline, attempt: Attempt, decision: Refuse | Wait
) -> Send | Conclusion:
    """Replace `Pipeline._not_sent`, and post refused messages."""
    if isinstance(decision, Wait):
        return pipeline._waiting(attempt, decision)
    facts = attempt.facts
    return Send(
        reason=decision.reason,
        content=FreeformContent("It goes out all the same."),
        seen=SeenRevisions(facts.person.revision, facts.sender.revision, facts.account.revision),
        valid_until=attempt.now + timedelta(hours=1),
        validity_period=timedelta(hours=1),
        trace=decision.trace,
    )


def edits(edit: Callable[[Form], Form]) -> Make:
    """Change the form of every POST."""

    def edited(*asked: Any, **named: Any) -> CreateMessage:
        message = build(*asked, **named)
        return replace(message, form=tuple(edit(list(message.form))))

    return sets("worker.pipeline.pipeline.build", edited)


def without(name: str) -> Make:
    """Remove a parameter."""
    return edits(lambda form: [pair for pair in form if pair[0] != name])


def with_more(name: str, value: str) -> Make:
    """Add a parameter."""
    return edits(lambda form: [*form, (name, value)])


def with_other(name: str, change: Callable[[str], str]) -> Make:
    """Change a parameter where it is present."""
    return edits(
        lambda form: [(each, change(value) if each == name else value) for each, value in form]
    )


def text_instead(form: Form) -> Form:
    """Send every template as text, as if Twilio found the template by its text."""
    rest = [(name, value) for name, value in form if name not in {"ContentSid", "ContentVariables"}]
    return (
        rest
        if any(name == "Body" for name, _ in rest)
        else [*rest, ("Body", "Your order 4711 has left.")]
    )


# -- what becomes of an attempt --------------------------------------------------------------------


_admit = LedgerStore.admit


async def invent_permits(ledger: LedgerStore, requests: Sequence[AdmitRequest]) -> list[Admission]:
    """Replace `LedgerStore.admit`, and ask the store only for ACCOUNT_UPDATE attempts.

    An attempt without a mark in the store would fail forever.
    """
    return [
        (await _admit(ledger, [ask]))[0]
        if ask.relies_on_tag
        else Permit(ask.message_id, ask.fence, ask.attempt, monotonic() + 2)
        for ask in requests
    ]


def late_intents(patch: Patch) -> None:
    """Write the intent only once the reply is there. The journal's line moves with it."""
    post, permitted = Pipeline._post, Recorder.permitted

    async def late(
        pipeline: Pipeline, attempt: Attempt, send: Send, permit: Permit
    ) -> tuple[Reply, float]:
        replied = await post(pipeline, attempt, send, permit)
        permitted(pipeline.recorder, permit)
        return replied

    patch.setattr(LedgerStore, "admit", invent_permits)
    patch.setattr(Recorder, "permitted", returns(None))
    patch.setattr(Pipeline, "_post", late)


def leaving_anyhow(departure: Departure, *_asked: object) -> None:
    """Replace `Departure.leave`, and let the first byte leave at any time."""
    departure.has_left = True


def optimistic(*asked: Any, **named: Any) -> Any:
    """Replace `read_answer`, and count an unproven answer as proof that nothing was sent."""
    reply = read_answer(*asked, **named)
    return NotSent("no proof of anything") if isinstance(reply, Unproven) else reply


def examines(**instead: object) -> Make:
    """Make the search examine a list under other circumstances than the true ones."""
    return sets(
        "worker.pipeline.unknown.search.examine",
        lambda *asked, **named: examine(*asked, **(named | instead)),
    )


def follows_rule(rule: OnUnknown, step: Callable[..., object]) -> Make:
    """Apply one rule to all messages instead of their own."""
    return sets(
        "worker.pipeline.unknown.resolution_rule.next_step",
        lambda _own, *more, **counted: step(rule, *more, **counted),
    )


# -- what the gateway answers ----------------------------------------------------------------------


def answers_first(endpoint: type[Any], status: int) -> Make:
    """Send the 2xx first and store afterwards."""
    answer = endpoint.answer
    later: set[asyncio.Task[Any]] = set()

    async def hasty(self: Any, signed: Any) -> web.Response:
        task = asyncio.create_task(answer(self, signed))
        later.add(task)
        task.add_done_callback(later.discard)
        return web.Response(status=status)

    return lambda patch: patch.setattr(endpoint, "answer", hasty)
