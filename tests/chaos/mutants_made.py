"""How mutants are made: in Python by putting something else in a step's place, in Lua by replacing a fragment."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from types import ModuleType
from typing import Any, Final

import pytest
from aiohttp import web

import sendwindow.exchange
import worker.stores.ledger
import worker.stores.people
import worker.stores.statuses
import worker.stores.unknowns
from policies.consent import Permission, _undoes, permission
from policies.decision import FreeformContent, Refuse, Seen, Send, Wait
from policies.facts import Approval
from policies.keywords import Keywords
from policies.tag import tag_problem
from policies.templates import pick_template
from policies.window import Window
from sendwindow.scripts import Script
from sendwindow.vocabulary import OnUnknown
from worker.clock import monotonic
from worker.dispatch.evidence import examine
from worker.dispatch.pipe import Pipe
from worker.dispatch.run import Run
from worker.dispatch.scribe import Scribe
from worker.stores.digests import Digests
from worker.stores.ledger import LedgerStore
from worker.twilio.departure import Departure
from worker.twilio.replies import read_answer
from worker.twilio.requests import build
from worker.values.admissions import Admission, AdmitRequest, Permit
from worker.values.posts import CreateMessage, NotSent, Unproven

Patch = pytest.MonkeyPatch
Make = Callable[[Patch], None]
Form = list[tuple[str, str]]

ENQUEUE: Final = (sendwindow.exchange, "ENQUEUE")
CANCEL: Final = (sendwindow.exchange, "CANCEL")
INBOUND: Final = (worker.stores.people, "_INBOUND")
CLAIM, ADMIT, SETTLE, REAP = ((worker.stores.ledger, name) for name in ("_CLAIM", "_ADMIT", "_SETTLE", "_REAP"))
CONSENT: Final = (worker.stores.people, "_CONSENT")
STATUS, RESOLVE = (worker.stores.statuses, "_STATUS"), (worker.stores.unknowns, "_RESOLVE")

# -- tools -------------------------------------------------------------------------------------------


def sets(target: str, value: object) -> Make:
    """Put a value where the dotted path leads; it must be there."""
    return lambda patch: patch.setattr(target, value)


def both(*makes: Make) -> Make:
    """Do one after the other."""

    def make(patch: Patch) -> None:
        for each in makes:
            each(patch)

    return make


def lua(fragment: str, instead: str, *scripts: tuple[ModuleType, str]) -> Make:
    """Replace a fragment that must be in each of the scripts exactly once."""

    def make(patch: Patch) -> None:
        for module, name in scripts:
            script: Script = getattr(module, name)
            found = script.source.count(fragment)
            assert found == 1, f"{script.name}.lua has {fragment!r} {found} times: adjust the mutant"
            patch.setattr(module, name, Script(script.name, script.source.replace(fragment, instead)))

    return make


def returns(value: object) -> Callable[..., object]:
    """A function that gives a value, whatever it is asked."""
    return lambda *_asked, **_named: value


def answers(value: object) -> Callable[..., Any]:
    """The same to be awaited."""

    async def answer(*_asked: object, **_named: object) -> object:
        return value

    return answer


def split_by_spelling(patch: Patch) -> None:
    """Look a person up under the very address that was written, in Python and in Lua."""
    patch.setattr(Digests, "persons_of", lambda digests, address: digests.digest(address))
    lua("local digests = spellings_of(address)", "local digests = { address }", CLAIM)(patch)


_match = Keywords.match

# -- what goes out -----------------------------------------------------------------------------------


def always_open(_person: object, policy: Any, now: Any) -> Window:
    """Stands for `session_window`."""
    return Window(is_open=True, closes_at=now + policy.window)


def approving(draft: Any, fact: Any, policy: Any) -> Any:
    """Stands for `pick_template`, and takes every template for approved."""
    return pick_template(draft, fact and replace(fact, approval=Approval.APPROVED), policy)


def fitting(**instead: Any) -> Callable[..., Any]:
    """Stands for `pick_template`, and takes every template for one of the purpose's category, or as told."""

    def pick(draft: Any, fact: Any, policy: Any) -> Any:
        facts = instead or {"category": policy.purposes[draft.purpose].category}
        return pick_template(draft, fact and replace(fact, **facts), policy)

    return pick


def phones_only(draft: Any, fact: Any, policy: Any) -> Any:
    """Stands for `pick_template`, and takes every user id for a phone."""
    return pick_template(replace(draft, to_is_phone=True), fact, policy)


def deaf_to_withdrawals(person: Any, *asked: Any) -> Permission:
    """Stands for `permission`, and hears only what was granted."""
    return permission(replace(person, consents=tuple(one for one in person.consents if one.granted)), *asked)


def never_ending(person: Any, *asked: Any) -> Permission:
    """Stands for `permission`, and takes no notice of when consent ends."""
    return permission(replace(person, consents=tuple(replace(one, expires_at=None) for one in person.consents)), *asked)


def hearing_ascii(words: Keywords, text: str, *more: Any, **named: Any) -> Any:
    """Stands for `Keywords.match`, and hears nothing in words that are not spelled in ASCII."""
    return _match(words, text, *more, **named) if text.isascii() else None


def undoing_at_once(grant: Any, withdrawal: Any, purpose: Any, counted: Any) -> bool:
    """Stands for `_undoes`, and lets a grant win a tie."""
    return _undoes(replace(grant, at=grant.at + timedelta(milliseconds=1)), withdrawal, purpose, counted)


def reviving_marketing(grant: Any, withdrawal: Any, purpose: Any, _counted: Any) -> bool:
    """Stands for `_undoes`, and takes a grant of everything for one of marketing."""
    return _undoes(grant, withdrawal, purpose, {None})


def unproven_goes(tag: Any, policy: Any) -> Any:
    """Stands for `tag_problem`, and lets any number of unproven messages of a Page go."""
    return tag_problem(tag and replace(tag, in_flight=False), policy)


async def post_refused(pipe: Pipe, run: Run, decision: Refuse | Wait) -> None:
    """Stands for `Pipe._not_now`, and posts what was refused."""
    if isinstance(decision, Wait):
        await pipe._waiting(run, decision)
        return
    facts = run.facts
    send = Send(
        reason=decision.reason,
        content=FreeformContent("It goes out all the same."),
        seen=Seen(facts.person.revision, facts.sender.revision, facts.account.revision),
        valid_until=run.now + timedelta(hours=1),
        validity_period=timedelta(hours=1),
        trace=decision.trace,
    )
    admission: Any = await pipe._admit(run, send)
    await pipe._admitted(run, send, admission)


def edits(edit: Callable[[Form], Form]) -> Make:
    """Change the form of every POST."""

    def edited(*asked: Any, **named: Any) -> CreateMessage:
        message = build(*asked, **named)
        return replace(message, form=tuple(edit(list(message.form))))

    return sets("worker.dispatch.pipe.build", edited)


def without(name: str) -> Make:
    """Leave a parameter out."""
    return edits(lambda form: [pair for pair in form if pair[0] != name])


def with_more(name: str, value: str) -> Make:
    """Add a parameter."""
    return edits(lambda form: [*form, (name, value)])


def with_other(name: str, change: Callable[[str], str]) -> Make:
    """Change a parameter where it is given."""
    return edits(lambda form: [(each, change(value) if each == name else value) for each, value in form])


def text_instead(form: Form) -> Form:
    """Send every template as text, as one who trusts that Twilio finds the template by its text."""
    rest = [(name, value) for name, value in form if name not in {"ContentSid", "ContentVariables"}]
    return rest if any(name == "Body" for name, _ in rest) else [*rest, ("Body", "Your order 4711 has left.")]


# -- what becomes of an attempt ----------------------------------------------------------------------


_admit = LedgerStore.admit


async def invent_permits(ledger: LedgerStore, requests: Sequence[AdmitRequest]) -> list[Admission]:
    """Stands for `LedgerStore.admit`, and asks the store for ACCOUNT_UPDATE only: unmarked it would fail for ever."""
    return [
        (await _admit(ledger, [ask]))[0]
        if ask.relies_on_tag
        else Permit(ask.message_id, ask.fence, ask.attempt, monotonic() + 2)
        for ask in requests
    ]


def late_intents(patch: Patch) -> None:
    """Write the intent once the reply is there: the journal's line moves with it."""
    post, permitted = Pipe._post, Scribe.permitted

    async def late(pipe: Pipe, run: Run, send: Send, permit: Permit) -> None:
        await post(pipe, run, send, permit)
        permitted(pipe.scribe, permit)

    patch.setattr(LedgerStore, "admit", invent_permits)
    patch.setattr(Scribe, "permitted", returns(None))
    patch.setattr(Pipe, "_post", late)


def leaving_anyhow(departure: Departure, *_asked: object) -> None:
    """Stands for `Departure.leave`, and lets the first byte go whenever it comes."""
    departure.has_left = True


def optimistic(*asked: Any, **named: Any) -> Any:
    """Stands for `read_answer`, and takes what proves nothing for proof that nothing was sent."""
    reply = read_answer(*asked, **named)
    return NotSent("no proof of anything") if isinstance(reply, Unproven) else reply


def examines(**instead: object) -> Make:
    """Let the search look at a list under other circumstances than the true ones."""
    return sets("worker.dispatch.unknown.examine", lambda *asked, **named: examine(*asked, **(named | instead)))


def follows_rule(rule: OnUnknown, step: Callable[..., object]) -> Make:
    """Follow one rule for all messages instead of their own."""
    return sets("worker.dispatch.rule.next_step", lambda _own, *more, **counted: step(rule, *more, **counted))


# -- what the gateway answers ------------------------------------------------------------------------


def answers_first(endpoint: type[Any], status: int) -> Make:
    """Answer at once and store afterwards."""
    answer = endpoint.answer
    later: set[asyncio.Task[Any]] = set()

    async def hasty(self: Any, signed: Any) -> web.Response:
        task = asyncio.create_task(answer(self, signed))
        later.add(task)
        task.add_done_callback(later.discard)
        return web.Response(status=status)

    return lambda patch: patch.setattr(endpoint, "answer", hasty)
