"""`send`, `show` and `explain`."""

import asyncio
import io
import json
from pathlib import Path

import pytest

from tests.conftest import StoreUnderTest
from tests.support.cast import ANNA
from tests.support.cli_world import GOOD, CommandLine
from tests.support.stores_world import opened
from worker.cli.exit_codes import Exit
from worker.ports.people import ConsentEntry


def jsonl(path: Path, *lines: object) -> str:
    path.write_text(
        "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    )
    return str(path)


async def grant(store: StoreUnderTest) -> None:
    async with opened(store) as world:
        await world.store.people.record_consent(
            ANNA, ConsentEntry(True, "main", "utility", None, "test")
        )


def test_send_queues_good_lines_and_reports_bad_ones_with_their_number(
    command: CommandLine, tmp_path: Path
) -> None:
    """Bad lines are reported with number, field and remedy; good lines are queued all the same.

    The exit code is 1.
    """
    name = jsonl(
        tmp_path / "m.jsonl",
        GOOD | {"message_id": "one"},
        "{not json",
        "",
        GOOD | {"purpose": "spam"},
        GOOD,
    )
    answer = command("send", name)
    assert answer.code == Exit.FAILED
    assert "line 2: message: is not JSON" in answer.out
    assert "line 4: purpose: " in answer.out
    assert "2 queued, 0 already known, 2 bad" in answer.out
    assert command("show", "one").code == Exit.DONE


def test_send_again_queues_nothing_twice(command: CommandLine, tmp_path: Path) -> None:
    """Sending a file again queues nothing twice.

    A line with other content under the same id is an error.
    """
    name = jsonl(tmp_path / "m.jsonl", GOOD | {"message_id": "one"})
    assert command("send", name).code == Exit.DONE
    assert "0 queued, 1 already known, 0 bad" in command("send", name).out
    other = jsonl(
        tmp_path / "n.jsonl", GOOD, GOOD | {"message_id": "one", "freeform": {"body": "other"}}
    )
    answer = command("send", other)
    assert answer.code == Exit.FAILED
    assert "line 2: message_id one already belongs to another message" in answer.out


def test_send_speaks_json_to_programs(command: CommandLine, tmp_path: Path) -> None:
    """With --json every line of standard output is an object, and sentences go to standard
    error.
    """
    name = jsonl(tmp_path / "m.jsonl", GOOD | {"message_id": "one"}, GOOD | {"to": "nobody"})
    answer = command("send", name, "--json")
    assert answer.objects[0] == {"message_id": "one", "duplicate": False}
    assert answer.objects[1]["line"] == 2
    assert "1 queued" in answer.err


@pytest.mark.parametrize("source", ["file", "standard input"])
@pytest.mark.parametrize("word", ["send", "explain"])
def test_text_that_is_not_utf8_is_told_and_never_altered(
    command: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, source: str
) -> None:
    """A line that is not UTF-8 is bad, and the other lines count.

    Read as another encoding, it would reach the person garbled.
    """
    greeting = GOOD | {"message_id": "two", "freeform": {"body": "Grüße"}}
    lines = [
        json.dumps(GOOD | {"message_id": "one"}).encode(),
        json.dumps(greeting, ensure_ascii=False).encode("l1"),
    ]
    name = "-"
    if source == "file":
        (tmp_path / "m.jsonl").write_bytes(b"\n".join(lines))
        name = str(tmp_path / "m.jsonl")
    else:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\n".join(lines)), "utf-8"))
    answer = command(word, name)
    assert answer.code == Exit.FAILED
    assert "line 2: is not UTF-8" in answer.out
    assert "Gr" not in answer.out + answer.err
    assert command("show", "two").code == Exit.FAILED
    assert command("show", "one").code == (Exit.DONE if word == "send" else Exit.FAILED)


@pytest.mark.parametrize("word", ["send", "explain"])
@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            (
                '{"to": "%s", "to": "%s", "sender": "shop", "purpose": "utility", '
                '"freeform": {"body": "x"}}'
            ),
            "contains `to` twice",
        ),
        (
            (
                '{"to": "%s", "sender": "shop", "purpose": "utility", "%s": 1, '
                '"freeform": {"body": "x", "body": "y"}}'
            ),
            "contains `body` twice",
        ),
        ('{"%s": 1, "%s": 2}', "contains a key twice"),
    ],
    ids=["top", "nested", "an address as key"],
)
def test_a_key_twice_makes_a_line_bad(
    command: CommandLine, tmp_path: Path, word: str, line: str, words: str
) -> None:
    """A line with a repeated key is bad, and the error repeats no address.

    If the last value won, a message might go to the wrong person.
    """
    name = jsonl(tmp_path / "m.jsonl", line % (ANNA, ANNA), GOOD | {"message_id": "one"})
    answer = command(word, name)
    assert answer.code == Exit.FAILED
    assert f"line 1: {words}" in answer.out
    assert "line 2" not in answer.out
    assert ANNA not in answer.out + answer.err


def test_text_nested_without_end_is_a_bad_line(command: CommandLine, tmp_path: Path) -> None:
    """Deep nesting makes a line bad and does not break the search for repeated keys."""
    answer = command("send", jsonl(tmp_path / "m.jsonl", "[" * 100_000))
    assert (answer.code, answer.err) == (Exit.FAILED, "")
    assert "line 1: message: is not JSON" in answer.out


@pytest.mark.parametrize("word", ["send", "explain"])
def test_a_byte_order_mark_is_no_part_of_the_first_message(
    command: CommandLine, tmp_path: Path, word: str
) -> None:
    """A byte order mark at the start of a file is ignored, because some editors write one."""
    (tmp_path / "m.jsonl").write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode())
    assert command(word, str(tmp_path / "m.jsonl")).code == Exit.DONE


def test_a_line_is_told_in_the_words_of_json(command: CommandLine, tmp_path: Path) -> None:
    """Errors about a line use the words of JSON, not Python's names for its types."""
    out = command("send", jsonl(tmp_path / "m.jsonl", [], GOOD | {"freeform": "Hello"})).out
    assert "line 1: message: is not a JSON object; " in out
    assert "line 2: freeform: is not a JSON object; " in out
    assert "dictionary" not in out


def test_explain_speaks_json_of_bad_lines_too(command: CommandLine, tmp_path: Path) -> None:
    """With --json, `explain` prints line and error of bad lines, as `send --json` does."""
    answer = command("explain", '{"to":5}', "--json")
    assert answer.code == Exit.FAILED
    assert answer.objects[0]["line"] == 1
    assert "to: " in answer.objects[0]["error"]
    name = jsonl(tmp_path / "m.jsonl", GOOD | {"message_id": "one"}, "{not json")
    good, bad = command("explain", name, "--json").objects
    assert (good["message_id"], bad["line"]) == ("one", 2)


def test_many_bad_lines_are_listed_whole_by_explain(command: CommandLine, tmp_path: Path) -> None:
    """`explain` lists every bad line and queues nothing.

    Sending the file again to see them would queue lines without an id twice.
    """
    command("send", jsonl(tmp_path / "first.jsonl", GOOD | {"message_id": "one"}))
    far = GOOD | {"not_before": "2150-01-01T00:00:00Z"}
    other = GOOD | {"message_id": "one", "freeform": {"body": "another text"}}
    name = jsonl(tmp_path / "m.jsonl", *[GOOD | {"purpose": "spam"}] * 23, far, other, GOOD)
    sent = command("send", name)
    assert "… and 5 more bad lines: `explain FILE` lists them all" in sent.out
    assert "1 queued, 0 already known, 25 bad" in sent.out
    explained = command("explain", name)
    assert explained.code == Exit.FAILED
    for number in range(1, 26):
        assert f"line {number}: " in explained.out
    assert "line 24: not_before: is more than 35 days ahead" in explained.out
    assert "line 25: message_id one already belongs to another message" in explained.out
    assert "line 26: " not in explained.out


def test_send_repeats_no_address_of_a_bad_line(command: CommandLine, tmp_path: Path) -> None:
    """Reports of bad lines name fields and never their values."""
    name = jsonl(
        tmp_path / "m.jsonl",
        GOOD | {"to": "whatsapp:0170-5550199", "freeform": {"body": "a secret " * 300}},
    )
    answer = command("send", name)
    assert "5550199" not in answer.out + answer.err
    assert "secret" not in answer.out + answer.err


def test_a_file_that_cannot_be_read_is_a_usage_error(command: CommandLine) -> None:
    """A missing file is reported in one sentence with a remedy."""
    answer = command("send", "no-such-file.jsonl")
    assert answer.code == Exit.USAGE
    assert answer.err.startswith("error: no-such-file.jsonl cannot be read")
    assert "Traceback" not in answer.err


def test_show_tells_stage_reason_and_timeline(command: CommandLine, store: StoreUnderTest) -> None:
    """A waiting message shows its stage, the reason in words, and every rule that was evaluated."""

    async def play() -> None:
        async with opened(store) as world:
            await world.accept("one", on_unknown=None)
            await world.callback("delivered", message_id="one")

    asyncio.run(play())
    answer = command("show", "one")
    assert answer.code == Exit.DONE
    assert answer.out.startswith("one: accepted (window_open)")
    assert "the person wrote to this sender" in answer.out
    for word in ("enqueued", "intent", "consent:pass", "delivered", "SM1"):
        assert word in answer.out
    assert "hello" not in answer.out
    assert ANNA not in answer.out
    shown = command("show", "one", "--json").objects[0]
    assert shown["stage"] == "accepted"
    assert [event["e"] for event in shown["timeline"]][:2] == ["enqueued", "intent"]


def test_show_of_an_unknown_id_fails_with_a_sentence(command: CommandLine) -> None:
    """`show` of an unknown id exits with 1."""
    answer = command("show", "nothing")
    assert answer.code == Exit.FAILED
    assert "There is no such message." in answer.err


def test_explain_says_what_would_happen_and_writes_nothing(
    command: CommandLine, store: StoreUnderTest, tmp_path: Path
) -> None:
    """`explain` decides with the present facts, shows each rule, and changes nothing in the
    store.
    """

    async def contents() -> dict[bytes, bytes | None]:
        async with opened(store) as world:
            return await world.contents()

    asyncio.run(grant(store))
    before = asyncio.run(contents())
    template = {"name": "order_update", "language": "en", "variables": {"1": "7"}}
    name = jsonl(
        tmp_path / "m.jsonl",
        GOOD | {"message_id": "one"},
        GOOD | {"message_id": "two", "template": template},
    )
    first, second = command("explain", name, "--json").objects
    assert (first["decision"], first["reason"], first["form"]) == ("refuse", "no_template", "")
    assert (second["decision"], second["reason"], second["form"]) == (
        "send",
        "template_window_closed",
        "template",
    )
    assert second["trace"][-1]["rule"] == "whatsapp.closed.template"
    assert asyncio.run(contents()) == before


def test_explain_takes_a_message_on_the_command_line(command: CommandLine) -> None:
    """`explain` prints the decision, reason and rules of one JSON message in words."""
    answer = command("explain", json.dumps(GOOD | {"message_id": "one"}))
    assert answer.code == Exit.DONE
    assert "one: refuse (no_consent)" in answer.out
    assert "No consent is recorded" in answer.out
    assert command("explain", '{"to": 1}').code == Exit.FAILED
    assert "line 1: is not UTF-8" in command("explain", '{"to": "\udcfc"}').out
