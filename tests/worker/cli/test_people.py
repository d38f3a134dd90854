"""`contact` and `consent`."""

import io
import json
import re
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.cast import ANNA, BERT
from tests.support.cli_world import CommandLine
from worker.cli.exit_codes import Exit
from worker.runtime.clock import wall_now

AT = "2026-03-01T09:30:00+00:00"


def typed(monkeypatch: pytest.MonkeyPatch, text: str | bytes) -> None:
    """Put this text on the standard input of a command."""
    data = text.encode() if isinstance(text, str) else text
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data), "utf-8"))


def test_a_grant_is_kept_with_how_it_came_and_counts_for_its_purpose_only(
    command: CommandLine,
) -> None:
    """A grant keeps source, wording and evidence, and counts for its own purpose only."""
    more = ("--source", "signup form", "--wording", "v3", "--evidence", "form 12")
    assert command("consent", "grant", ANNA, "--purpose", "utility", *more).code == Exit.DONE
    known = command("contact", ANNA, "--json").objects[0]
    assert known["consents"][0] | {"at": ""} == {
        "at": "",
        "granted": True,
        "account": "main",
        "purpose": "utility",
        "source": "signup form",
        "wording": "v3",
        "evidence": "form 12",
    }
    at_shop = next(line for line in known["senders"] if line["sender"] == "shop")
    assert (at_shop["utility"], at_shop["marketing"], at_shop["window"]) == (
        "granted",
        "none",
        "closed",
    )


def test_a_revocation_covers_everything_unless_it_names_a_purpose(command: CommandLine) -> None:
    """`revoke` without a purpose withdraws every purpose, marketing included."""
    for purpose in ("utility", "marketing"):
        command("consent", "grant", ANNA, "--purpose", purpose)
    assert command("consent", "revoke", ANNA, "--purpose", "marketing").code == Exit.DONE
    standing = command("contact", ANNA, "--json").objects[0]["senders"][0]
    assert (standing["utility"], standing["marketing"]) == ("granted", "opted_out")
    assert command("consent", "revoke", ANNA).code == Exit.DONE
    standing = command("contact", ANNA, "--json").objects[0]["senders"][0]
    assert (standing["utility"], standing["marketing"]) == ("opted_out", "opted_out")


def test_contact_shows_senders_of_the_same_channel_and_never_the_address(
    command: CommandLine,
) -> None:
    """`contact` shows a WhatsApp person at the WhatsApp senders and does not print the address."""
    answer = command("contact", ANNA)
    assert "shop" in answer.out
    assert "other" in answer.out
    assert "text" not in answer.out
    assert ANNA not in answer.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("grant", "0170 5550199", "--purpose", "utility"), "not an address"),
        (("grant", ANNA), "purpose is missing"),
        (("grant", ANNA, "--purpose", "utility", "--account", "nobody"), "no such account"),
        (
            ("grant", ANNA, "--purpose", "utility", "--sender", "text"),
            "no such sender on the channel",
        ),
        (("grant", ANNA, "--purpose", "utility", "--expires", "2027-01-01"), "with its offset"),
        (
            ("grant", ANNA, "--purpose", "utility", "--at", "2999-01-01T00:00:00+00:00"),
            "`at` is in the future",
        ),
        (("grant", "-", "--purpose", "utility", "--at", AT), "Give each line its own `at`"),
    ],
    ids=["address", "purpose", "account", "sender", "time", "future", "one time for many"],
)
def test_what_cannot_be_recorded_is_refused_with_a_remedy(
    command: CommandLine, arguments: tuple[str, ...], words: str
) -> None:
    """A consent that does not fit the settings is a usage error that does not repeat the
    address.
    """
    answer = command("consent", *arguments)
    assert answer.code == Exit.USAGE
    assert words in answer.err
    assert "5550" not in answer.err
    assert command("contact", ANNA, "--json").objects[0]["consents"] == []


def test_many_consents_come_as_lines_and_bad_ones_are_reported(
    command: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines override the options.

    A bad line is reported with its number, and the others are recorded.
    """
    lines = [
        json.dumps({"address": ANNA, "at": AT}),
        json.dumps({"address": BERT, "at": AT, "purpose": "marketing", "wording": "v4"}),
        json.dumps({"address": "nobody", "at": AT}),
        json.dumps({"address": ANNA, "at": AT, "colour": "red"}),
        json.dumps({"address": ANNA, "at": AT, "account": ["main"]}),
        *["not json"] * 20,
    ]
    typed(monkeypatch, "\n".join(lines))
    answer = command("consent", "grant", "-", "--purpose", "utility")
    assert answer.code == Exit.FAILED
    assert "2 recorded, 23 bad" in answer.out
    for number in range(3, 23):
        assert f"line {number}: " in answer.out
    assert "and 3 more bad lines" in answer.out
    standing = command("contact", BERT, "--json").objects[0]["senders"][0]
    assert (standing["utility"], standing["marketing"]) == ("none", "granted")


def test_a_consent_that_is_not_utf8_is_bad(
    command: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that is not UTF-8 is bad: the ledger keeps the words as they were written, or
    nothing.
    """
    lines = [
        json.dumps({"address": ANNA, "at": AT, "source": "Büro"}, ensure_ascii=False).encode(
            "latin-1"
        )
    ]
    lines += [
        json.dumps({"address": address, "at": AT, **more}).encode()
        for address, more in ((ANNA, {"wording": "\ud800"}), (BERT, {"wording": "Grüße"}))
    ]
    typed(monkeypatch, b"\n".join(lines))
    answer = command("consent", "grant", "-", "--purpose", "utility")
    assert answer.code == Exit.FAILED
    assert "line 1: is not UTF-8" in answer.out
    assert "line 2: `wording` is not valid Unicode" in answer.out
    assert "1 recorded, 2 bad" in answer.out
    assert (
        command("consent", "grant", ANNA, "--purpose", "utility", "--source", "B\udcfcro").code
        == Exit.USAGE
    )
    assert command("contact", ANNA, "--json").objects[0]["consents"] == []


@pytest.mark.parametrize(
    ("at", "words"),
    [
        ({}, "does not say when the person consented"),
        ({"at": None}, "does not say when the person consented"),
        ({"at": "2026-03-01"}, "with its offset"),
        ({"at": "2999-01-01T00:00:00+00:00"}, "`at` is in the future"),
    ],
    ids=["missing", "null", "no offset", "future"],
)
def test_a_line_without_the_time_of_consent_is_bad(
    command: CommandLine, monkeypatch: pytest.MonkeyPatch, at: dict[str, object], words: str
) -> None:
    """A line without the time of consent is bad.

    Dated now, old consent would outrank a later STOP.
    """
    typed(monkeypatch, json.dumps({"address": ANNA, "purpose": "utility", **at}))
    answer = command("consent", "grant", "-")
    assert answer.code == Exit.FAILED
    assert words in answer.out
    assert command("contact", ANNA, "--json").objects[0]["consents"] == []


def test_consent_that_has_ended_is_not_granted(
    command: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Consent that has ended is refused, alone and in bulk, also if it ends before `at`."""
    past = (wall_now() - timedelta(hours=1)).isoformat()
    answer = command("consent", "grant", ANNA, "--purpose", "utility", "--expires", past)
    assert answer.code == Exit.USAGE
    assert "`expires` is in the past" in answer.err
    lines = [
        json.dumps({"address": ANNA, "at": AT, "expires": one})
        for one in (past, "2020-01-01T00:00:00+00:00")
    ]
    typed(monkeypatch, "\n".join(lines))
    answer = command("consent", "grant", "-", "--purpose", "utility")
    assert answer.code == Exit.FAILED
    assert "line 1: `expires` is in the past" in answer.out
    assert "0 recorded, 2 bad" in answer.out
    assert command("contact", ANNA, "--json").objects[0]["consents"] == []
    ahead = (wall_now() + timedelta(hours=1)).isoformat()
    assert (
        command("consent", "grant", ANNA, "--purpose", "utility", "--expires", ahead).code
        == Exit.DONE
    )


def test_a_withdrawal_has_no_end(command: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """`consent revoke` refuses an expiry on the command line but ignores it in lines from a file.

    A file line must never lose a withdrawal because of an extra field.
    """
    answer = command("consent", "revoke", ANNA, "--expires", AT)
    assert answer.code == Exit.USAGE
    assert "--expires" in answer.err
    typed(monkeypatch, json.dumps({"address": ANNA, "expires": AT}))
    assert command("consent", "revoke", "-").code == Exit.DONE
    assert utility(command) == "opted_out"


def test_a_grant_that_changes_nothing_says_so(
    command: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A grant dated before a stop is recorded without effect, and the answer names the stop.

    Programs read that in `effective`.
    """
    stop = f"{wall_now() - timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}"
    assert command("consent", "revoke", ANNA, "--at", stop).code == Exit.DONE
    for purpose in ("utility", "all"):
        answer = command("consent", "grant", ANNA, "--purpose", purpose, "--at", AT)
        assert (answer.code, answer.out) == (
            Exit.DONE,
            f"recorded, but the newer stop of {stop} still applies\n",
        )
    [told] = command("consent", "grant", ANNA, "--purpose", "utility", "--at", AT, "--json").objects
    assert told["effective"] is False
    typed(
        monkeypatch,
        "\n".join(json.dumps({"address": address, "at": AT}) for address in (ANNA, BERT)),
    )
    answer = command("consent", "grant", "-", "--purpose", "utility", "--json")
    assert [line["effective"] for line in answer.objects] == [False, True]
    assert "1 of the recorded lines changed nothing" in answer.err
    assert utility(command) == "opted_out"


def test_a_stop_recorded_before_any_worker_started_is_found(
    command: CommandLine, tmp_path: Path
) -> None:
    """A stop recorded before any worker started is found.

    The first command that writes under a name binds that name to the account.
    """
    assert command("consent", "revoke", ANNA).code == Exit.DONE
    text = command.config.read_text()
    command.config.write_text(
        text.replace("accounts.main", "accounts.prod").replace('"main"', '"prod"')
    )
    answer = command("contact", ANNA)
    assert answer.code == Exit.USAGE
    assert "call it main again" in answer.err


def test_a_grant_before_the_withdrawal_of_another_purpose_counts(command: CommandLine) -> None:
    """A withdrawal of another purpose does not affect a grant."""
    assert command("consent", "revoke", ANNA, "--purpose", "marketing").code == Exit.DONE
    [told] = command("consent", "grant", ANNA, "--purpose", "utility", "--at", AT, "--json").objects
    assert told["effective"] is True
    assert command("consent", "grant", ANNA, "--purpose", "all", "--at", AT).out == "granted: all\n"


def test_a_person_reads_the_ledger_in_words(command: CommandLine) -> None:
    """Tables show yes or no, and `all` where no purpose is named; JSON output keeps the values.

    Programs read true, false, and the purpose as it was written.
    """
    command("consent", "grant", ANNA, "--purpose", "utility", "--at", AT)
    command("consent", "revoke", ANNA)
    ledger = command("contact", ANNA).out.partition("Consent ledger\n")[2]
    granted, revoked = (
        dict(re.findall(r"^(\w+) +(\S+)$", block, re.MULTILINE)) for block in ledger.split("\n\n")
    )
    assert granted.items() >= {"granted": "yes", "account": "main", "purpose": "utility"}.items()
    assert revoked.items() >= {"granted": "no", "account": "main", "purpose": "all"}.items()
    told = command("contact", ANNA, "--json").objects[0]["consents"]
    assert [line["granted"] for line in told] == [True, False]


def test_a_byte_order_mark_is_no_part_of_the_first_consent(
    command: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte order mark at the start of the lines is ignored, because some editors write one."""
    typed(
        monkeypatch,
        b"\xef\xbb\xbf" + json.dumps({"address": ANNA, "at": AT, "purpose": "utility"}).encode(),
    )
    assert command("consent", "grant", "-").code == Exit.DONE
    assert utility(command) == "granted"


def test_the_purposes_offered_are_words(command: CommandLine) -> None:
    """The error for a wrong purpose lists the allowed words, not Python's names for them."""
    answer = command("consent", "grant", ANNA, "--purpose", "spam")
    assert answer.code == Exit.USAGE
    assert "reply" in answer.err
    assert "Purpose." not in answer.err


def test_a_consent_with_a_key_twice_is_bad(
    command: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line with a repeated key is bad, because the last value would win silently.

    The error repeats neither address.
    """
    typed(
        monkeypatch,
        f'{{"address": "{ANNA}", "address": "{BERT}", "at": "{AT}", "purpose": "utility"}}',
    )
    answer = command("consent", "grant", "-")
    assert answer.code == Exit.FAILED
    assert "line 1: contains `address` twice." in answer.out
    assert ANNA not in answer.out + answer.err
    assert command("contact", BERT, "--json").objects[0]["consents"] == []


def test_a_program_is_told_what_was_recorded(
    command: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --json each consent and each bad line is one object, as with `send`.

    Sentences go to stderr.
    """
    one = command("consent", "grant", ANNA, "--purpose", "utility", "--json")
    assert one.objects == [
        {"recorded": "granted", "purpose": "utility", "sender": None, "effective": True}
    ]
    assert "granted: utility" in one.err
    lines = [json.dumps({"address": ANNA, "at": AT, "sender": "shop"}), *["not json"] * 25]
    typed(monkeypatch, "\n".join(lines))
    many = command("consent", "grant", "-", "--purpose", "marketing", "--json")
    assert many.code == Exit.FAILED
    first, *bad = many.objects
    assert first == {
        "line": 1,
        "recorded": "granted",
        "purpose": "marketing",
        "sender": "shop",
        "effective": True,
    }
    assert [line["line"] for line in bad] == list(range(2, 27))
    assert all("is not a JSON object" in line["error"] for line in bad)
    assert "1 recorded, 25 bad" in many.err


def test_a_withdrawal_needs_no_time(command: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many withdrawals may hold from now, because a withdrawal permits nothing."""
    typed(monkeypatch, json.dumps({"address": ANNA}))
    assert command("consent", "revoke", "-").code == Exit.DONE


def test_an_import_leaves_a_stop_in_force(
    command: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Imported consent from before a STOP is kept without effect.

    Consent dated after it is reported with what to do.
    """
    now = wall_now()
    stop, after = (now - timedelta(days=1)).isoformat(), (now - timedelta(hours=1)).isoformat()
    assert command("consent", "revoke", ANNA, "--at", stop).code == Exit.DONE
    lines = [
        json.dumps({"address": address, "at": at})
        for address, at in ((ANNA, AT), (ANNA, after), (BERT, after))
    ]
    typed(monkeypatch, "\n".join(lines))
    answer = command("consent", "grant", "-", "--purpose", "utility")
    assert answer.code == Exit.FAILED
    assert "2 recorded, 1 bad" in answer.out
    assert "line 2: Not recorded" in answer.out
    assert "--after-stop" in answer.out
    assert utility(command) == "opted_out"
    typed(monkeypatch, lines[1])
    assert (
        command("consent", "grant", "-", "--purpose", "utility", "--after-stop").code == Exit.DONE
    )
    assert utility(command) == "granted"


def test_a_grant_after_a_stop_must_be_meant(command: CommandLine) -> None:
    """Without --after-stop a grant fails and says what to do, without repeating the address."""
    before = (wall_now() - timedelta(days=1)).isoformat()
    assert command("consent", "revoke", ANNA, "--at", before).code == Exit.DONE
    answer = command("consent", "grant", ANNA, "--purpose", "utility")
    assert answer.code == Exit.FAILED
    assert "repeat with --after-stop" in answer.err
    assert ANNA not in answer.err + answer.out
    assert utility(command) == "opted_out"
    assert (
        command("consent", "grant", ANNA, "--purpose", "utility", "--after-stop").code == Exit.DONE
    )
    assert utility(command) == "granted"


def utility(command: CommandLine) -> object:
    """Return how the person stands towards utility messages."""
    return command("contact", ANNA, "--json").objects[0]["senders"][0]["utility"]


def test_every_spelling_shows_and_changes_the_same_person(command: CommandLine) -> None:
    """A person is shown and changed under every spelling, and a stop under one holds for the
    other.
    """
    one, other = "whatsapp:+525555550123", "whatsapp:+5215555550123"
    assert command("consent", "grant", one, "--purpose", "utility", "--at", AT).code == Exit.DONE
    first, second = (command("contact", address, "--json").objects[0] for address in (one, other))
    assert first == second
    assert len(first["consents"]) == 1
    assert command("consent", "revoke", other).code == Exit.DONE
    known = command("contact", one, "--json").objects[0]
    assert known["senders"][0]["utility"] == "opted_out"
    for address in (one, other):
        assert command("consent", "grant", address, "--purpose", "utility").code == Exit.FAILED
