"""`contact held`: effects that wait for an operator to apply or to discard them.

They were held because too many errors of a sender came at once.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.cli.exit_codes import CommandError, Exit
from worker.cli.output import Output, counted

if TYPE_CHECKING:
    from worker.settings.settings import Settings
    from worker.stores.held_effects import HeldEffects
    from worker.stores.store import Store
    from worker.telemetry.journal import Journal


@dataclass(frozen=True, slots=True)
class HeldEffectsOrder:
    """What the operator asks for.

    `action`: `list`, `apply` or `discard`. `sender`: None means all senders. `is_meant`: do it, and
    do not only show it.
    """

    action: str
    sender: str | None
    is_meant: bool


async def decide_held(
    settings: "Settings", wish: HeldEffectsOrder, output: Output, journal: "Journal"
) -> int:
    """Print the held effects of each sender, and apply or discard them if that is meant."""
    from worker.wiring import open_store

    if wish.sender is not None and wish.sender not in settings.senders:
        raise CommandError(
            "There is no such sender in the settings.",
            f"Use one of {', '.join(settings.senders)}.",
            Exit.USAGE,
        )
    async with open_store(settings, reading=wish.action == "list") as store:
        names = [wish.sender] if wish.sender else list(settings.senders)
        found = [await store.held.examine(name) for name in await store.held.waiting(names)]
        output.table(
            ("sender", "waiting", "since", "reasons"),
            [_row(held, as_json=output.as_json) for held in found],
        )
        if wish.action == "list":
            return Exit.DONE
        if not wish.is_meant:
            output.say(f"nothing was changed: repeat with --yes to {wish.action} these")
            return Exit.DONE
        done = await _decide(store, wish.action, found, journal)
    word = "applied" if wish.action == "apply" else "discarded"
    if output.as_json:
        output.object({word: done})
    output.say(f"{word}: {counted(done, 'effect')}")
    return Exit.DONE


async def _decide(
    store: "Store", action: str, found: "list[HeldEffects]", journal: "Journal"
) -> int:
    done = 0
    for held in found:
        # Written before, because a worker may at once refuse a message for what is applied.
        journal.write("held_effects", sender=held.sender, decision=action, effects=held.waiting)
        # Decide no more than was shown, so that an operator sees newer effects before deciding on
        # them.
        done += await store.held.decide(
            "apply" if action == "apply" else "discard", held.sender, held.waiting
        )
    return done


def _row(held: "HeldEffects", *, as_json: bool) -> dict[str, object]:
    reasons = dict(sorted(held.reasons.items()))
    words = ", ".join(f"{many} x {reason}" for reason, many in reasons.items())
    return {
        "sender": held.sender,
        "waiting": held.waiting,
        "since": held.since,
        "reasons": reasons if as_json else words,
    }
