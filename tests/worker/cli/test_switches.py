"""What errors or an operator stopped is shown by `doctor`, and undone by one command."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.conftest import StoreUnderTest
from tests.support.cli_world import SETTINGS, CommandLine, command_line
from tests.support.stores_world import REFUSED, World, opened
from worker.cli.exit_codes import Exit
from worker.ports.effects import Effect, PauseAccount, SetTag, SetTemplate

EN, DE = "HX00000000000000000000000000000001", "HX00000000000000000000000000000002"
MORE = f"""
de = "{DE}"
[senders.page]
account = "main"
address = "messenger:1000000001"
[senders.main]
account = "main"
address = "messenger:1000000002"
"""


@pytest.fixture
def command(
    store: StoreUnderTest,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> CommandLine:
    command = command_line(store, tmp_path, capsys, monkeypatch)
    command.config.write_text(SETTINGS.format(url=store.url, partition=store.partition) + MORE)
    return command


def teach(
    store: StoreUnderTest, *effects: Effect, sender: str = "page", template: str = DE
) -> None:
    """Settle an attempt with the effects of its error."""

    async def settle(world: World) -> None:
        await world.store.register_senders({sender: "main"})
        await world.enqueue(sender=sender)
        claimed = await world.claim_one()
        await world.admit(claimed, sender=sender, relies_on_tag=True)
        await world.settle(claimed, REFUSED, sender=sender, template=template, effects=effects)

    asyncio.run(_in(store, settle))


def pause(store: StoreUnderTest, *senders: str) -> None:
    """Pause senders by hand."""

    async def pausing(world: World) -> None:
        for sender in senders:
            await world.store.switches.pause("sender", sender, timedelta(hours=1), "by hand")

    asyncio.run(_in(store, pausing))


async def _in(store: StoreUnderTest, work: object) -> None:
    async with opened(store) as world:
        assert callable(work)
        await work(world)


def told(command: CommandLine) -> Sequence[str]:
    """Return what `doctor` reports as stopped, each with the last words of its remedy."""
    marks = ("account ", "sender ", "tag ", "template ")
    lines = [line for line in command("doctor", "--json").objects if line["what"].startswith(marks)]
    return [
        f"{line['what']}: {line['finding'].rpartition('`')[0].rpartition('`')[2]}" for line in lines
    ]


def test_nothing_said_is_nothing_told(command: CommandLine, store: StoreUnderTest) -> None:
    """Without effects every Page is unproven, every template is as configured, and doctor is
    silent.
    """
    teach(store)
    assert told(command) == []
    assert [
        (line["sender"], line["state"]) for line in command("tags", "list", "--json").objects
    ] == [
        ("page", "unproven"),
        ("main", "unproven"),
    ]
    found = command("templates", "list", "--json").objects
    assert [(line["template"], line["language"], line["state"]) for line in found] == [
        ("order_update", "en", "approved"),
        ("order_update", "de", "approved"),
    ]


def test_doctor_names_what_is_switched_off_and_how_to_undo_it(
    command: CommandLine, store: StoreUnderTest
) -> None:
    """`doctor` names stopped accounts, senders, tags and templates by their configured names."""
    teach(
        store,
        SetTag("dead", "code 63016"),
        SetTemplate("rejected", "code 63027"),
        PauseAccount(60, "code 20003"),
    )
    pause(store, "shop")
    assert told(command) == [
        "account main: resume main",
        "sender shop: resume shop",
        "tag page: tags reset page",
        "template order_update (de): templates reset order_update",
    ]


def test_a_dead_tag_is_reset(command: CommandLine, store: StoreUnderTest) -> None:
    """A dead tag is listed with its code.

    After a reset the Page is unproven and nothing is left to reset.
    """
    teach(store, SetTag("dead", "code 63016"))
    (line, _) = command("tags", "list", "--json").objects
    assert (line["sender"], line["state"], line["reason"]) == ("page", "dead", "code 63016")
    assert command("tags", "reset", "page").code == Exit.DONE
    assert told(command) == []
    assert command("tags", "reset", "page").code == Exit.FAILED


def test_a_template_is_reset_in_every_language(command: CommandLine, store: StoreUnderTest) -> None:
    """The list names a template's language, and a reset forgets the state of every language."""
    teach(store, SetTemplate("rejected", "code 63027"))
    (english, german) = command("templates", "list", "--json").objects
    assert (english["state"], english["content_sid"], english["reason"]) == ("approved", EN, None)
    assert (german["state"], german["content_sid"], german["reason"]) == (
        "rejected",
        DE,
        "code 63027",
    )
    assert command("templates", "reset", "order_update").code == Exit.DONE
    assert told(command) == []
    assert command("templates", "reset", "order_update").code == Exit.FAILED


def test_resume_ends_the_pause_of_whatever_has_the_name(
    command: CommandLine, store: StoreUnderTest
) -> None:
    """`resume` ends the pause of an account and of a sender with that name, and says which was
    not paused.
    """
    teach(store, PauseAccount(60, "code 20003"))
    pause(store, "main")
    answer = command("resume", "main")
    assert (answer.code, answer.out) == (Exit.DONE, "switched on: account main, sender main\n")
    assert told(command) == []
    assert command("resume", "main").code == Exit.FAILED


def test_a_program_is_told_what_was_switched_on(
    command: CommandLine, store: StoreUnderTest
) -> None:
    """With --json each name is an object, and the sentence goes to standard error."""
    teach(
        store,
        SetTag("dead", "code 63016"),
        SetTemplate("rejected", "code 63027"),
        PauseAccount(60, "code 20003"),
    )
    answer = command("tags", "reset", "page", "--json")
    assert answer.objects == [{"switched_on": "tag", "name": "page", "language": None}]
    assert answer.err == "switched on: tag page\n"
    answer = command("templates", "reset", "order_update", "--json")
    assert answer.objects == [{"switched_on": "template", "name": "order_update", "language": "de"}]
    answer = command("resume", "main", "--json")
    assert answer.objects == [{"switched_on": "account", "name": "main", "language": None}]


@pytest.mark.parametrize(
    "words", [("tags", "reset", "shop"), ("templates", "reset", "gone"), ("resume", "gone")]
)
def test_a_name_that_is_not_configured_is_a_mistake(
    command: CommandLine, store: StoreUnderTest, words: Sequence[str]
) -> None:
    """An unknown name is an error, and only a Page has a tag. A typo must not look like success."""
    teach(store)
    answer = command(*words)
    assert answer.code == Exit.USAGE
    assert "Use one of" in answer.err


def test_an_operator_pauses_a_sender_or_an_account(
    command: CommandLine, store: StoreUnderTest
) -> None:
    """A pause lasts until `resume`, or as long as the operator says, and `doctor` names it."""
    answer = command("pause", "shop", "--reason", "stocktaking")
    assert (answer.code, answer.out) == (Exit.DONE, "paused: sender shop\n")
    assert told(command) == ["sender shop: resume shop"]
    assert command("pause", "text", "--hours", "2", "--json").objects == [
        {"paused": "sender", "name": "text", "language": None}
    ]
    found = {line["sender"]: line for line in command("lanes", "--json").objects}
    assert found["shop"]["detail"] == "stocktaking"
    since, until = (datetime.fromisoformat(found["text"][name]) for name in ("since", "until"))
    assert until - since == timedelta(hours=2)
    assert command("resume", "shop").code == Exit.DONE
    assert told(command) == ["sender text: resume text"]


def test_a_dry_run_changes_nothing(command: CommandLine, store: StoreUnderTest) -> None:
    """It prints what the command would do, and fails where that would fail."""
    answer = command("pause", "main", "--dry-run")
    assert answer.out == "would be paused: account main, sender main\n"
    assert told(command) == []
    assert command("resume", "main", "--dry-run").code == Exit.FAILED
    teach(store, SetTag("dead", "code 63016"), SetTemplate("rejected", "code 63027"))
    assert command("pause", "main").code == Exit.DONE
    before = told(command)
    assert command("resume", "main", "--dry-run", "--json").objects == [
        {"switched_on": kind, "name": "main", "language": None, "dry_run": True}
        for kind in ("account", "sender")
    ]
    assert command("tags", "reset", "page", "--dry-run").out == "would be switched on: tag page\n"
    answer = command("templates", "reset", "order_update", "--dry-run")
    assert answer.out == "would be switched on: template order_update (de)\n"
    assert told(command) == before
    assert command("pause", "gone", "--dry-run").code == Exit.USAGE
