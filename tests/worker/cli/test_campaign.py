"""`campaign`: an operator pauses, resumes and cancels a campaign of a sender."""

import asyncio
import json

import pytest

from tests.conftest import StoreUnderTest
from tests.support.cli_world import GOOD, CommandLine
from tests.support.stores_world import World, opened
from worker.cli.exit_codes import Exit

SPRING = ("shop", "spring")


def queue(command: CommandLine, number: int) -> None:
    """Queue messages of the campaign."""
    file = command.config.parent / "messages.jsonl"
    lines = [GOOD | {"campaign": "spring", "message_id": f"m{index}"} for index in range(number)]
    file.write_text("\n".join(json.dumps(line) for line in lines))
    assert command("send", str(file)).code == Exit.DONE


def test_a_campaign_is_paused_and_resumed(command: CommandLine) -> None:
    """`status` follows each order, and `resume` says when there is no pause to end."""
    queue(command, 2)
    paused = command("campaign", "pause", *SPRING)
    assert paused.code == Exit.DONE
    assert paused.out == (
        "campaign spring of shop: paused until it is resumed; 0 urgent, 2 normal, 0 bulk queued\n"
    )
    assert command("campaign", "status", *SPRING).out == paused.out
    assert command("campaign", "resume", *SPRING).code == Exit.DONE
    again = command("campaign", "resume", *SPRING)
    assert again.code == Exit.FAILED
    assert "there is no pause to end" in again.out
    timed = command("campaign", "pause", *SPRING, "--hours", "2", "--json").objects[0]
    assert timed["is_paused"]
    assert timed["paused_until"] is not None


def test_doctor_names_the_paused_campaigns(command: CommandLine) -> None:
    """`doctor` says which campaigns are paused and how to resume them, and nothing afterwards."""
    sentence = "`campaign resume shop spring`"
    assert sentence not in command("doctor").out
    command("campaign", "pause", *SPRING)
    command("campaign", "pause", "other", "summer", "--hours", "1")
    said = " ".join(command("doctor").out.split())
    assert f"campaign spring of shop paused: {sentence} ends that" in said
    assert "campaign summer of other" in said
    command("campaign", "resume", *SPRING)
    assert sentence not in command("doctor").out


def test_a_dry_run_changes_nothing(command: CommandLine) -> None:
    """`--dry-run` says what an order would do."""
    queue(command, 3)
    before = command("campaign", "status", *SPRING).out
    said = {
        ("pause",): "pauses it until it is resumed",
        ("pause", "--hours", "2"): "pauses it until 2 hours have passed",
        ("cancel",): "cancels 3 queued messages",
    }
    for (word, *options), effect in said.items():
        answer = command("campaign", word, *SPRING, *options, "--dry-run")
        assert answer.code == Exit.DONE
        assert effect in answer.out
        assert command("campaign", "status", *SPRING).out == before
    assert command("campaign", "resume", *SPRING, "--dry-run").code == Exit.FAILED
    command("campaign", "pause", *SPRING)
    answer = command("campaign", "resume", *SPRING, "--dry-run")
    assert (answer.code, "ends its pause" in answer.out) == (Exit.DONE, True)
    assert command("campaign", "status", *SPRING, "--json").objects[0]["is_paused"]


def test_a_cancelled_campaign_is_shown_as_cancelled(
    command: CommandLine, store: StoreUnderTest
) -> None:
    """`show` and `campaign status` agree before and after a worker records the ends."""
    queue(command, 2)
    cancelled = command("campaign", "cancel", *SPRING, "--json").objects[0]
    assert (cancelled["action"], cancelled["dry_run"]) == ("cancel", False)
    assert (cancelled["is_ending"], cancelled["queued"]) == (True, None)
    assert "recording the ends" in command("campaign", "status", *SPRING).out
    assert "since its last cancel" in command("campaign", "cancel", *SPRING, "--dry-run").out
    for _ in range(2):
        shown = command("show", "m1", "--json").objects[0]
        assert (shown["stage"], shown["reason"]) == ("cancelled", "cancelled")
        assert shown["cancel_asked"]
        asyncio.run(_sweep(store))
    status = command("campaign", "status", *SPRING)
    assert "0 normal" in status.out
    assert "; cancelled what was queued until 20" in status.out


async def _sweep(store: StoreUnderTest) -> None:
    async with opened(store) as world:
        await _end(world)


async def _end(world: World) -> None:
    while await world.store.ledger.end_campaigns(64):
        pass


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("nobody", "spring"), "There is no such sender in the settings. Use one of shop"),
        (("shop", "sp ring"), "Use 1 to 64 of the characters A-Z a-z 0-9"),
        (("shop", "spring", "--hours", "0"), "--hours: write a number of hours from 0.001 to 8760"),
        (("shop", "spring", "--hours", "x"), "--hours: write a number of hours"),
    ],
)
def test_an_order_that_cannot_be_meant_is_refused(
    command: CommandLine, names: tuple[str, ...], said: str
) -> None:
    """A sender that is not configured, or a name that no message has, changes nothing."""
    answer = command("campaign", "pause", *names)
    assert (answer.code, said in answer.err) == (Exit.USAGE, True)
