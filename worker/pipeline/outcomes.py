"""Turns the reply to an attempt into an Outcome: what happens to the message, and what we learn.

Pure. Laws: there is an outcome, whatever the provider replies · an unproven attempt becomes unknown
and is never repeated here · a rejection applies to the scope that the catalogue names, not only to
the message.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, assert_never

from policies.decision import FreeformContent, Send
from policies.error_catalogue import ErrorClass, ErrorEntry, Meaning, Operation, Scope
from policies.facts import TagState
from policies.retry_delay import least_wait, next_try_at
from policies.ruleset import Ruleset
from policies.tag import tag_after
from sendwindow.vocabulary import Channel, Reason, Stage
from worker.error_effects import Heard, effects_of
from worker.ports.effects import Effect, SetTag
from worker.ports.posts import Accepted, NotSent, Rejected, Reply, Unproven
from worker.ports.settlements import Result, SettleAccepted, SettleAgain, SettleEnd, SettleUnknown
from worker.twilio.replies import PERMIT_LAPSED

_FIRST_LOOK: Final = timedelta(seconds=15)

_LAPSED_AGAIN_MS: Final = 100
"""How long a message waits after its permit lapsed.

Close to the end of a message or decision a permit lapses at once, so the wait prevents another
attempt in the same millisecond.
"""

_AGAIN_FOR: Final = {
    ErrorClass.RETRY: Reason.PROVIDER_TRANSIENT,
    ErrorClass.THROTTLE: Reason.THROTTLED,
    ErrorClass.PAUSE_SENDER: Reason.SENDER_PAUSED,
    ErrorClass.PAUSE_ACCOUNT: Reason.ACCOUNT_PAUSED,
}
"""The reason for another try, for each error class that leads to one when a POST is rejected."""

HELD_BACK: Final = NotSent("held back")
"""The POST did not start, because an earlier one of its account got no answer."""

_NOT_SENT: Final = ErrorEntry(
    code=None,
    error_class=ErrorClass.RETRY,
    scope=Scope.MESSAGE,
    wait=timedelta(0),
    max_tries=0,
    sentence="No connection to Twilio was made; nothing was sent.",
    needs_alert=False,
)


@dataclass(frozen=True, slots=True)
class AttemptEnd:
    """An attempt that ended. `attempt`: its number. `tries`: POSTs so far, including this one.

    `now`: the store's clock as this worker knows it. `to_user_id`: the message went to a WhatsApp
    user id instead of a phone number. `is_cut_off`: this worker cannot reach Twilio at all.
    """

    send: Send
    attempt: int
    tries: int
    now: datetime
    expires_at: datetime
    channel: Channel | None = None
    to_user_id: bool = False
    is_cut_off: bool = False

    @property
    def relies_on_tag(self) -> bool:
        return isinstance(self.send.content, FreeformContent) and self.send.content.relies_on_tag


@dataclass(frozen=True, slots=True)
class Outcome:
    """What to record about an attempt.

    `entry`: the catalogue's entry, when Twilio returned an error. `posted`: a POST started.
    `answered`: whether Twilio answered it; None when the attempt says nothing about that.
    """

    result: Result
    effects: tuple[Effect, ...] = ()
    entry: ErrorEntry | None = None
    posted: bool = True
    answered: bool | None = None


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Turns replies into outcomes by the error catalogue.

    `chance`: draws evenly from 0 to 1, for the jitter of retries. `has_many_routes`: not all
    accounts reach Twilio in the same way, so a connection that fails may concern one of them alone.
    """

    rules: Ruleset
    chance: Callable[[], float]
    has_many_routes: bool = False

    def conclude(self, reply: Reply, tried: AttemptEnd) -> Outcome:
        """Return what becomes of the message, and what the reply teaches.

        Raises nothing, whatever the code.
        """
        match reply:
            case Accepted(message_sid=message_sid, status=status):
                return Outcome(SettleAccepted(message_sid, status), answered=True)
            case NotSent():
                return self._not_sent(reply, tried)
            case Unproven(reason=reason, code=code):
                unknown = SettleUnknown(reason, _detail(reply), self.first_look_ms, code)
                return Outcome(unknown, answered=False)
            case Rejected():
                return self._rejected(reply, tried)
            case _:
                assert_never(reply)

    @property
    def first_look_ms(self) -> int:
        """How long until the first search for an unproven attempt, in milliseconds.

        Often a callback arrives sooner.
        """
        return int(min(_FIRST_LOOK, self.rules.policy.resend_after / 2) / timedelta(milliseconds=1))

    def _not_sent(self, reply: NotSent, tried: AttemptEnd) -> Outcome:
        if reply == HELD_BACK:
            back = SettleAgain(Stage.WAITING, Reason.BREAKER_OPEN, keeps_place=True)
            return Outcome(back, posted=False)
        if reply == PERMIT_LAPSED:
            back = SettleAgain(Stage.QUEUED, Reason.PERMIT_LAPSED, delay_ms=_LAPSED_AGAIN_MS)
            return Outcome(back, posted=False)
        if tried.is_cut_off:
            # The fault is not the message's, and its worker starts no other until the connection
            # works again. The message keeps its place, because another worker may reach Twilio.
            back = SettleAgain(
                Stage.RETRYING, Reason.NOT_SENT, keeps_place=True, sentence=_NOT_SENT.sentence
            )
            return self._unconnected(back)
        # This uses up no try, but the waits grow, because Twilio may be unreachable for hours and
        # each round is recorded.
        again = self._again(_NOT_SENT, Reason.NOT_SENT, replace(tried, tries=tried.attempt), None)
        return self._unconnected(again)

    def _unconnected(self, result: Result) -> Outcome:
        answered = False if self.has_many_routes else None
        return Outcome(result, entry=_NOT_SENT, posted=False, answered=answered)

    def _rejected(self, reply: Rejected, tried: AttemptEnd) -> Outcome:
        entry = self.rules.errors.lookup(
            reply.code,
            http_status=reply.http_status,
            operation=Operation.CREATE,
            to_user_id=tried.to_user_id,
        )
        effects = self.effects(entry, tried, reply.retry_after)
        return Outcome(self._result(entry, reply, tried), effects, entry, answered=True)

    def _result(self, entry: ErrorEntry, reply: Rejected, tried: AttemptEnd) -> Result:
        match entry.meaning():
            case Meaning.GO_AGAIN:
                return self._again(entry, _AGAIN_FOR[entry.error_class], tried, reply.retry_after)
            case Meaning.UNPROVEN:
                return SettleUnknown(
                    Reason.OUTCOME_SERVER_ERROR, entry.sentence, self.first_look_ms, reply.code
                )
            case Meaning.DECIDE_AGAIN:
                # The effects close the window, so the new decision sends a template, waits or
                # refuses. The store makes sure that this is the message's one new decision, and
                # that the attempt did not send a template.
                reason = Reason.WINDOW_CLOSED_BY_PROVIDER
                return SettleAgain(
                    Stage.RETRYING, reason, redecided=True, code=entry.code, sentence=entry.sentence
                )
            case Meaning.END:
                return SettleEnd(Stage.FAILED, Reason.PROVIDER_REFUSED, entry.code, entry.sentence)

    def _again(
        self, entry: ErrorEntry, reason: Reason, tried: AttemptEnd, retry_after: float | None
    ) -> Result:
        at = next_try_at(
            tried.tries,
            entry,
            self.chance(),
            retry_after=retry_after,
            now=tried.now,
            expires_at=tried.expires_at,
        )
        if at is not None:
            return SettleAgain(
                Stage.RETRYING, reason, due_at=at, code=entry.code, sentence=entry.sentence
            )
        if entry.max_tries and tried.tries >= entry.max_tries:
            return SettleEnd(Stage.DEAD, Reason.RETRIES_EXHAUSTED, entry.code, entry.sentence)
        if _pauses(entry, retry_after):
            # The pause may end before the message does: an operator or an answer of Twilio ends it.
            return SettleAgain(
                Stage.RETRYING, reason, keeps_place=True, code=entry.code, sentence=entry.sentence
            )
        return SettleEnd(Stage.EXPIRED, Reason.EXPIRED, entry.code, entry.sentence)

    def effects(
        self, entry: ErrorEntry, tried: AttemptEnd, retry_after: float | None = None
    ) -> tuple[Effect, ...]:
        """Return what an error teaches about person, sender, account, template and tag."""
        found = effects_of(entry, self.rules, Heard(retry_after, tried.channel))
        if tried.relies_on_tag and tag_after(self.rules.policy, code=entry.code) is TagState.DEAD:
            return (*found, SetTag(TagState.DEAD, f"code {entry.code}"))
        return found


def _pauses(entry: ErrorEntry, retry_after: float | None) -> bool:
    """Return whether an error pauses the sender or the account of its message."""
    if entry.error_class in (ErrorClass.PAUSE_SENDER, ErrorClass.PAUSE_ACCOUNT):
        return True
    is_wide = entry.scope in (Scope.SENDER, Scope.ACCOUNT)
    return is_wide and least_wait(entry, retry_after) > timedelta(0)


def _detail(reply: Unproven) -> str:
    return f"{reply.detail}: {reply.excerpt}" if reply.excerpt else reply.detail
