"""Plans what happens to an accepted message: which statuses, when, and which are reported."""

from dataclasses import dataclass, replace

from sandbox.faults import Action, Drawn


@dataclass(frozen=True, slots=True)
class Step:
    """One step, `delay_ms` after the step before.

    The status `happens` (lists and fetches show it), is `told` (a callback reports it), or both.
    """

    delay_ms: float
    status: str
    code: int | None = None
    happens: bool = True
    told: bool = True


def steps_of(
    usual: tuple[str, ...], drawn: Drawn, delay_ms: int, *, first: str, code: int | None
) -> list[Step]:
    """Build the steps.

    `first`: the status in the answer to the POST. `queued` follows only after `accepted`. `code`:
    why the message fails.

    Source: twilio.com/docs/messaging/guides/outbound-message-status-in-status-callbacks, read
    2026-11-20.
    """
    steps = [Step(delay_ms, "queued")] if first == "accepted" else []
    fails = drawn.answer if drawn.answer and drawn.answer.action is Action.FAIL else None
    if fails is not None and fails.status == "undelivered":
        steps += [Step(delay_ms, "sent"), Step(delay_ms, "undelivered", fails.code or 30005)]
    elif fails is not None or code is not None:
        steps.append(
            Step(delay_ms, "failed", code if code is not None else (fails and fails.code) or 30500)
        )
    else:
        steps += [Step(delay_ms, status) for status in usual]
    if fails is not None and fails.then is not None:
        # Twilio called it failed too early: it arrives after all, and its error code goes away.
        steps.append(Step(fails.delay_ms, fails.then))
    return _with_faults(steps, drawn)


def _with_faults(steps: list[Step], drawn: Drawn) -> list[Step]:
    if drawn.has(Action.CALLBACK_LOST):
        return [replace(step, told=False) for step in steps]
    if drawn.has(Action.CALLBACK_REORDERED):
        happening = [replace(step, told=False) for step in steps]
        steps = happening + [replace(step, delay_ms=0, happens=False) for step in reversed(steps)]
    if drawn.has(Action.CALLBACK_DELAYED):
        happening = [replace(step, told=False) for step in steps if step.happens]
        told = [replace(step, happens=False) for step in steps if step.told]
        wait = drawn.delay_ms(Action.CALLBACK_DELAYED)
        steps = happening + [
            replace(step, delay_ms=wait if place == 0 else step.delay_ms)
            for place, step in enumerate(told)
        ]
    if drawn.has(Action.CALLBACK_DOUBLED):
        steps = [
            copy
            for step in steps
            for copy in ((step, replace(step, delay_ms=0, happens=False)) if step.told else (step,))
        ]
    return steps
