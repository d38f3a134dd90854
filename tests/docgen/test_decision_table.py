"""The printed decision table, dated rules and reasons."""

import ast
from dataclasses import replace
from pathlib import Path

from docgen.decision_table import dated_rules_table, decision_table, reason_table
from docgen.scenarios import CHANNELS, GUARDS
from policies import reasons
from policies.policy import AccountUpdate
from sendwindow.vocabulary import Reason
from tests.policies.given import POLICY

ALL_ROWS = [*GUARDS, *(row for _, rows in CHANNELS for row in rows)]


def test_the_table_says_what_the_rules_do() -> None:
    """The table has one expected row for each kind of outcome."""
    table = decision_table(POLICY)
    for line in (
        "| any | opted out | any | anything | refuse, `opted_out` | `opt_out` |",
        "| any | any | any | anything, expired | expires, `expired` | `expiry` |",
        (
            "| any | any | any | anything, sender paused "
            "| wait until then, `sender_paused` | `pauses` |"
        ),
        (
            "| WhatsApp | given | open | a usable template only "
            "| template, `template_only` | `whatsapp.open.template` |"
        ),
        (
            "| Messenger | wrote | open | freeform "
            "| freeform, `window_open` | `messenger.open.freeform` |"
        ),
        (
            "| SMS | none | open | freeform, purpose reply "
            "| freeform, `reply_implied` | `sms.reply_implied` |"
        ),
    ):
        assert line in table.splitlines()
    assert "freeform that Twilio tags ACCOUNT_UPDATE, `account_update`" in table
    assert "wait for the next inbound, `awaiting_inbound`" in table


def test_the_table_does_not_depend_on_guards_of_ones_own() -> None:
    """An allow-list, a cap or a refusal of ACCOUNT_UPDATE in the settings does not change the
    table.
    """
    own = replace(
        POLICY, allow_recipients=frozenset(), person_cap=1, account_update=AccountUpdate.REFUSE
    )
    assert decision_table(own) == decision_table(POLICY)


def test_every_rule_that_can_decide_is_a_row_of_the_table() -> None:
    """Every rule id in the code is a row of the table."""
    printed = {row.decision(POLICY).trace.verdicts[-1].rule for row in ALL_ROWS}
    folder = Path(reasons.__file__).parent
    written: set[str] = set()
    endings = ("Choice", "Delay", "Refusal")
    for name in ("guards.py", "content.py"):
        for node in ast.walk(ast.parse((folder / name).read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in endings
            ):
                rule = node.args[0]
                written |= {
                    str(part.value) for part in ast.walk(rule) if isinstance(part, ast.Constant)
                }
    assert len(written) > len(endings)
    assert written <= printed


def test_the_table_shows_every_reason_a_decision_can_have() -> None:
    """Every reason that `decide` may return is in the table.

    Reasons against a template appear by example.
    """
    shown = {row.decision(POLICY).reason for row in ALL_ROWS}
    by_example = {
        Reason.UNKNOWN_TEMPLATE,
        Reason.TEMPLATE_PAUSED,
        Reason.TEMPLATE_DISABLED,
        Reason.TEMPLATE_LANGUAGE,
        Reason.TEMPLATE_VARIABLES,
    }
    by_workers = {
        Reason.CAMPAIGN_PAUSED,
        Reason.BREAKER_OPEN,
        Reason.PERMIT_LAPSED,
        Reason.FACTS_CHANGED,
        Reason.WORKER_STOPPED,
        Reason.LEASE_LOST,
        Reason.ACCOUNT_BUSY,
        Reason.ACCOUNT_RATE,
        Reason.SENDER_RATE,
        Reason.PAIR_RATE,
        Reason.PORTFOLIO_LIMIT,
    }
    given = {*reasons.SENT, *reasons.REFUSED, *reasons.WAITING, Reason.EXPIRED}
    assert shown == given - by_example - by_workers


def test_no_row_of_the_table_repeats_another() -> None:
    """Each row says something that no other row says."""
    lines = decision_table(POLICY).splitlines()
    assert len(lines) == len(set(lines))


def test_the_dated_rules_are_printed_with_source_and_dates() -> None:
    """Each dated rule is printed with its source and the dates when it was read."""
    table = dated_rules_table(POLICY)
    assert "| `messenger.account_update` |" in table
    assert table.rstrip().splitlines()[-1].startswith("| `provider_queue` |")
    assert "2026-11-20 |  | 2026-04-27 |" in table


def test_every_reason_is_printed_with_its_sentence() -> None:
    """The table of reasons has one row for each reason, with its sentence."""
    table = reason_table().splitlines()
    for reason in Reason:
        assert table.count(f"| `{reason.value}` | {reasons.sentence(reason.value)} |") == 1
